"""A file for `mlx_lm.lora`. Facts: mlx-lm 0.32, its CONFIG_DEFAULTS and LoRA layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.mlx_lm.reach import ALL_LAYERS, Reach, layers_of, reach_of
from lora_explorer.exports.mlx_lm.schedule import LEARNING_RATE, LENGTH, OPTIMIZER, SCHEDULE, TITLE
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, hear, otherwise, say, words
from lora_explorer.exports.yaml_file import yaml_file
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

COMMAND = "mlx_lm.lora --config mlx-lm.yml"
MARKS = words(
    "lora_parameters fine_tune_type grad_checkpoint iters adapter_path val_batches steps_per_eval mask_prompt"
)
_DATA = "# Your data goes here: a folder with train.jsonl, or a data set of the Hub.\ndata: mlx-community/wikisql\n"
_SCALE = "lora_parameters.scale"
_KEYS = "lora_parameters.keys"
_SETTINGS = ("lora_target_linear", "lora_target_modules", "lora_target_parameters", "peft_layers_to_transform")
# In force as a whole, where a file has no such block; a block has to say all three.
_LORA_PARAMETERS = {"rank": 8, "dropout": 0.0, "scale": 20.0}


def _write_adapter(recipe: Recipe) -> Iterator[Said]:
    yield "fine_tune_type", ("dora" if recipe.peft_use_dora else "lora") if recipe.adapter else "full"
    if recipe.load_in_4bit or recipe.load_in_8bit:
        bits = 4 if recipe.load_in_4bit else 8
        message = f"{TITLE} takes the base weights as they are: convert the model to {bits} bits and name that one."
        yield otherwise("load_in_4bit" if recipe.load_in_4bit else "load_in_8bit", message)


def _read_adapter(entries: Values) -> Iterator[Said]:
    kind = entries.get("fine_tune_type")
    if kind in ("lora", "dora"):
        yield "adapter", "lora"
        yield "peft_use_dora", kind == "dora"
    elif kind != "full":
        yield Finding("adapter", "error", f"fine_tune_type {kind!s:.60} is no LoRA adapter.")


def _write_scale(recipe: Recipe) -> Iterator[Said]:
    """It multiplies by the scale itself; alpha and rank-stabilisation are in it."""
    if recipe.adapter:
        yield _SCALE, recipe.scaling


def _read_scale(entries: Values) -> Iterator[Said]:
    scale, rank = entries.get(_SCALE), entries.get("lora_parameters.rank")
    if not _is_positive(scale) or not _is_positive(rank):
        yield "lora_alpha", scale
        return
    alpha, stabilised = scale * rank, scale * math.sqrt(rank)
    if _is_whole(alpha) or not _is_whole(stabilised):
        yield "lora_alpha", max(1, round(alpha))
    else:
        yield "lora_alpha", round(stabilised)
        yield "peft_use_rslora", True
    if not _is_whole(alpha) and not _is_whole(stabilised):
        message = f"scale {scale} at rank {rank} is no whole alpha; {max(1, round(alpha))} is the nearest."
        yield otherwise("lora_alpha", message)


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9


def _is_whole(value: float) -> bool:
    return round(value) >= 1 and math.isclose(value, round(value), rel_tol=1e-9)


def _targets(reach: Reach | None) -> Conversion:
    def write(recipe: Recipe) -> Iterator[Said]:
        if reach is None:
            # It would train the last 16 layers alone.
            yield "num_layers", ALL_LAYERS
            return
        yield "num_layers", reach.num_layers
        yield _KEYS, list(reach.keys) if reach.keys else None
        if not reach.exact:
            given = [name for name in _SETTINGS if getattr(recipe, name)]
            yield from (otherwise(name, _why_not_exact(reach)) for name in given)

    return Conversion(_SETTINGS, ("num_layers", _KEYS), write, _read_targets)


def _why_not_exact(reach: Reach) -> str:
    if reach.keys is None:
        return f"{TITLE} takes whole paths, which only the base model has; all modules it can adapt stand there."
    return f"{TITLE} adapts the same modules in the last layers of a model; these are not the modules of this recipe."


def _read_targets(entries: Values) -> Iterator[Said]:
    keys = entries.get(_KEYS)
    if keys is None:
        yield "lora_target_linear", entries.get("fine_tune_type") != "full" or None
    else:
        yield "lora_target_modules", keys
    yield from _read_layers(entries)


def _read_layers(entries: Values) -> Iterator[Said]:
    count = entries.get("num_layers")
    if not isinstance(count, int) or count < 0:
        return
    total = layers_of(entries.get("model"))
    if total is None:
        message = f"num_layers {count} means the last {count} layers; list them once the base model is known."
        yield otherwise("peft_layers_to_transform", message)
    elif count < total:
        yield "peft_layers_to_transform", list(range(total - count, total))


def _write_others(recipe: Recipe) -> Iterator[Said]:
    if recipe.max_grad_norm:
        yield otherwise(
            "max_grad_norm", f"{TITLE} does not clip gradients; Axolotl does at {recipe.max_grad_norm}.", "note"
        )


_DEFAULTS = {
    "model": "Qwen/Qwen3-0.6b",
    "fine_tune_type": "lora",
    "optimizer": "adam",
    "num_layers": 16,
    "batch_size": 4,
    "iters": 1000,
    "learning_rate": LEARNING_RATE,
    "max_seq_length": 2048,
    "grad_checkpoint": False,
    "grad_accumulation_steps": 1,
}
_ASIDE = words(
    "data adapter_path steps_per_report steps_per_eval save_every val_batches test test_batches report_to "
    "project_name config mask_prompt clear_cache_threshold"
)
_ADAPTER = (
    Conversion(
        ("adapter", "load_in_4bit", "load_in_8bit", "bnb_config_kwargs", "peft_use_dora"),
        ("fine_tune_type",),
        _write_adapter,
        _read_adapter,
    ),
    Conversion(("lora_alpha", "peft_use_rslora"), (_SCALE,), _write_scale, _read_scale),
)
_TRAINING = (
    OPTIMIZER,
    LENGTH,
    SCHEDULE,
    Conversion(
        ("gradient_checkpointing",),
        ("grad_checkpoint",),
        lambda recipe: [("grad_checkpoint", bool(recipe.gradient_checkpointing))],
        lambda entries: [("gradient_checkpointing", entries.get("grad_checkpoint"))],
    ),
    Conversion(("max_grad_norm",), (), _write_others, lambda entries: ()),
    trainer.always_in_float32(TITLE),
)


def _vocabulary(reach: Reach | None) -> Vocabulary:
    """reach: what is adapted; None while a file is read, and without an adapter."""
    return Vocabulary(
        title=TITLE,
        words="mlx_lm",
        fixed={"train": True},
        defaults=_DEFAULTS,
        conversions=(*_ADAPTER, _targets(reach), *_TRAINING),
        # Apple's GPUs have one attention and bfloat16; options of a checkpoint that does not reenter are torch's.
        by_itself=trainer.BY_ITSELF | {"bf16", "attn_implementation", "gradient_checkpointing_kwargs"},
        aside=_ASIDE,
    )


def export_mlx_lm(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """With the base model, the modules that PEFT adapts are named by their paths."""
    filled = filled_in(recipe)
    reach = reach_of(filled, skeleton) if filled.adapter else None
    entries, unsaid = say(_vocabulary(reach), filled)
    return yaml_file(COMMAND, entries, unsaid, _DATA)


def read_mlx_lm(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none."""
    given = {key: value for key, value in values.items() if value is not None}
    return hear(_vocabulary(None), {"lora_parameters": _LORA_PARAMETERS, **given})
