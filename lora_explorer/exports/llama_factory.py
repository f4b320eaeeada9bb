"""LLaMA-Factory's YAML for `llamafactory-cli train`, both ways. Facts: LLaMA-Factory 0.9.5, its argument classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.quantized_base import four_bit_options
from lora_explorer.exports.target_names import has_own_meaning, peft_targets, with_names
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, hear, otherwise, say, words
from lora_explorer.exports.yaml_file import yaml_file
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

TITLE = "LLaMA-Factory"
COMMAND = "llamafactory-cli train llama-factory.yml"
MARKS = words("finetuning_type cutoff_len lora_target additional_target neat_packing stage quantization_bit template")
_ALL = "all"
_DATA = "# Your data goes here.\ndataset: alpaca_en_demo\ntemplate: default\noutput_dir: ./model-out\n"
_FLASH = {"eager": "disabled", "sdpa": "sdpa", "flash_attention_2": "fa2", "flash_attention_3": "fa3"}


def _write_adapter(recipe: Recipe) -> Iterator[Said]:
    yield "finetuning_type", "lora" if recipe.adapter else "full"
    if recipe.adapter and (recipe.load_in_4bit or recipe.load_in_8bit):
        yield "quantization_bit", 4 if recipe.load_in_4bit else 8


def _read_adapter(entries: Values) -> Iterator[Said]:
    kind, bits = entries.get("finetuning_type"), entries.get("quantization_bit")
    if kind not in ("lora", "full"):
        yield Finding("adapter", "error", f"finetuning_type {kind!s:.60} is no LoRA adapter.")
    elif kind == "lora":
        yield "adapter", "qlora" if bits == 4 else "lora"
        yield "load_in_4bit", bits == 4
        yield "load_in_8bit", bits == 8
    if bits not in (None, 4, 8):
        yield Finding("load_in_4bit", "error", f"quantization_bit {bits!s:.60} is neither 4 nor 8.")


def _write_targets(recipe: Recipe) -> Iterator[Said]:
    if not recipe.adapter:
        return
    targets = peft_targets(recipe)
    if recipe.lora_target_linear:
        yield "lora_target", _ALL
        if recipe.lora_target_modules:
            yield otherwise("lora_target_modules", "lora_target_modules is not in the file: all stands there.")
    elif isinstance(targets, str):
        message = f"{TITLE} takes names only, so the regex of lora_target_modules is not in the file."
        yield otherwise("lora_target_modules", message)
    else:
        yield from _joined("lora_target", "lora_target_modules", targets)


def _joined(key: str, setting: str, names: Sequence[str]) -> Iterator[Said]:
    """Names in one text, between commas."""
    fit = [name for name in names if name and name == name.strip() and "," not in name]
    if fit:
        yield key, ",".join(fit)
    if len(fit) < len(names):
        message = f"{TITLE} separates names by commas, so one with a comma or a blank around it is left out."
        yield otherwise(setting, message)


def _read_targets(entries: Values) -> Iterator[Said]:
    names = _names(entries.get("lora_target"))
    if names == [_ALL]:
        yield "lora_target_linear", True
    else:
        yield "lora_target_modules", names


def _names(value: Any) -> Any:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _write_saved(recipe: Recipe) -> Iterator[Said]:
    if recipe.adapter and recipe.lora_modules_to_save:
        yield from _joined("additional_target", "lora_modules_to_save", recipe.lora_modules_to_save)


def _read_alpha(entries: Values) -> Iterator[Said]:
    alpha, rank = entries.get("lora_alpha"), entries.get("lora_rank")
    yield "lora_alpha", 2 * rank if not alpha and isinstance(rank, int) else alpha


def _write_start(recipe: Recipe) -> Iterator[Said]:
    start = recipe.peft_init_lora_weights
    if start == "pissa":
        yield "pissa_init", True
        yield "pissa_iter", -1
    elif isinstance(start, str) and start.startswith("pissa_niter_") and start[12:].isdecimal():
        yield "pissa_init", True
        yield "pissa_iter", int(start[12:])
    elif isinstance(start, str):
        yield otherwise("peft_init_lora_weights", f"{TITLE} cannot start A and B as {start}.")


def _read_start(entries: Values) -> Iterator[Said]:
    if entries.get("pissa_init"):
        iterations = entries.get("pissa_iter")
        yield "peft_init_lora_weights", "pissa" if iterations == -1 else f"pissa_niter_{iterations}"


def _write_checkpointing(recipe: Recipe) -> Iterator[Said]:
    yield "disable_gradient_checkpointing", not recipe.gradient_checkpointing
    if recipe.activation_offloading:
        yield otherwise("activation_offloading", f"{TITLE} has no activation_offloading.", "note")


def _write_reentrant(recipe: Recipe) -> Iterator[Said]:
    options = recipe.gradient_checkpointing_kwargs if recipe.gradient_checkpointing else {}
    if "use_reentrant" in options:
        yield "use_reentrant_gc", options["use_reentrant"]
    if set(options) - {"use_reentrant"}:
        message = f"Of gradient_checkpointing_kwargs, {TITLE} takes use_reentrant only."
        yield otherwise("gradient_checkpointing_kwargs", message, "note")


def _read_reentrant(entries: Values) -> Iterator[Said]:
    reentrant = entries.get("use_reentrant_gc")
    yield "gradient_checkpointing_kwargs", None if reentrant is None else {"use_reentrant": reentrant}


def _write_attention(recipe: Recipe) -> Iterator[Said]:
    chosen = recipe.attn_implementation
    if chosen in _FLASH:
        yield "flash_attn", _FLASH[chosen]
    elif chosen is not None:
        yield otherwise("attn_implementation", f"{TITLE} has no attention kernel {chosen}; auto stands there.", "note")


def _read_attention(entries: Values) -> Iterator[Said]:
    by_word = {word: name for name, word in _FLASH.items()}
    word = entries.get("flash_attn")
    # Anything else is no kernel's name, and auto is what an empty setting means.
    yield "attn_implementation", by_word.get(word) if isinstance(word, str) else None


def _write_packing(recipe: Recipe) -> Iterator[Said]:
    # Packs like Axolotl: samples in a row do not see each other.
    yield "neat_packing", recipe.sample_packing


def _read_packing(entries: Values) -> Iterator[Said]:
    yield "sample_packing", bool(entries.get("neat_packing") or entries.get("packing"))
    if entries.get("packing") and not entries.get("neat_packing"):
        message = f"With packing alone, samples in one row see each other in {TITLE}; in Axolotl they do not."
        yield otherwise("sample_packing", message)


def _saved(entries: Values) -> Iterator[Said]:
    yield "lora_modules_to_save", _names(entries.get("additional_target"))


def _checkpointing(entries: Values) -> Iterator[Said]:
    yield "gradient_checkpointing", not entries.get("disable_gradient_checkpointing")


VOCABULARY = Vocabulary(
    title=TITLE,
    words="llama_factory",
    fixed={"stage": "sft", "do_train": True},
    defaults={
        **trainer.DEFAULTS,
        "warmup_ratio": 0,
        "finetuning_type": "lora",
        "lora_rank": 8,
        "lora_dropout": 0,
        "lora_target": _ALL,
        "use_rslora": False,
        "use_dora": False,
        "pissa_init": False,
        "pissa_iter": 16,
        "loraplus_lr_embedding": 1e-6,
        "double_quantization": True,
        "quantization_type": "nf4",
        "cutoff_len": 2048,
        "neat_packing": False,
        "disable_gradient_checkpointing": False,
        "flash_attn": "auto",
    },
    conversions=(
        Conversion(
            ("adapter", "load_in_4bit", "load_in_8bit"),
            ("finetuning_type", "quantization_bit"),
            _write_adapter,
            _read_adapter,
        ),
        Conversion(("lora_target_linear", "lora_target_modules"), ("lora_target",), _write_targets, _read_targets),
        Conversion(("lora_modules_to_save",), ("additional_target",), _write_saved, _saved),
        Conversion(
            ("lora_alpha",),
            ("lora_alpha",),
            lambda recipe: [("lora_alpha", recipe.lora_alpha if recipe.adapter else None)],
            _read_alpha,
        ),
        Conversion(("peft_init_lora_weights",), ("pissa_init", "pissa_iter"), _write_start, _read_start),
        four_bit_options(TITLE, "double_quantization", "quantization_type"),
        trainer.always_in_float32(TITLE),
        trainer.precision(),
        Conversion(
            ("gradient_checkpointing", "activation_offloading"),
            ("disable_gradient_checkpointing",),
            _write_checkpointing,
            _checkpointing,
        ),
        Conversion(("gradient_checkpointing_kwargs",), ("use_reentrant_gc",), _write_reentrant, _read_reentrant),
        Conversion(("attn_implementation",), ("flash_attn",), _write_attention, _read_attention),
        Conversion(("sample_packing",), ("neat_packing", "packing"), _write_packing, _read_packing),
        trainer.optimizers(TITLE),
        trainer.schedulers(TITLE),
        trainer.STEPS,
        trainer.WARMUP,
        trainer.TF32,
    ),
    by_itself=trainer.BY_ITSELF,
    aside=trainer.ASIDE
    | {"dataset", "eval_dataset", "dataset_dir", "template", "val_size", "max_samples", "overwrite_cache", "plot_loss"}
    | {"preprocessing_num_workers", "media_dir", "mask_history", "train_on_prompt", "model_revision", "cache_dir"},
)


def export_llama_factory(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """What cannot be said stands above, as comments."""
    filled = filled_in(recipe)
    named = filled if has_own_meaning(filled, skeleton) else with_names(filled, skeleton)
    entries, unsaid = say(VOCABULARY, named)
    return yaml_file(COMMAND, entries, unsaid, _DATA)


def read_llama_factory(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none."""
    return hear(VOCABULARY, values)
