"""ms-swift's YAML for `swift sft`, both ways: each entry becomes an argument of its command line.

Facts: ms-swift 4.6, its argument classes and tuners.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.quantized_base import four_bit_options
from lora_explorer.exports.target_names import ALL_LINEAR, has_own_meaning, peft_targets, with_names
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, hear, otherwise, say, words
from lora_explorer.exports.yaml_file import yaml_file
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

TITLE = "ms-swift"
COMMAND = "swift sft ms-swift.yml"
MARKS = words(
    "tuner_type train_type target_regex target_modules quant_bits quant_method use_hf init_weights torch_dtype "
    "attn_impl lorap_lr_ratio split_dataset_ratio freeze_vit"
)
_DATA = "# Your data goes here.\ndataset:\n  - tatsu-lab/alpaca#1000\noutput_dir: ./model-out\n"
# Its batch is 16 rows where accumulation is not said.
_ROWS = 16
_BETA2 = 0.999


def _write_adapter(recipe: Recipe) -> Iterator[Said]:
    yield "tuner_type", "lora" if recipe.adapter else "full"
    if recipe.adapter and (recipe.load_in_4bit or recipe.load_in_8bit):
        yield "quant_method", "bnb"
        yield "quant_bits", 4 if recipe.load_in_4bit else 8


def _read_adapter(entries: Values) -> Iterator[Said]:
    kind, bits = entries.get("train_type") or entries.get("tuner_type"), entries.get("quant_bits")
    if kind not in ("lora", "full"):
        yield Finding("adapter", "error", f"tuner_type {kind!s:.60} is no LoRA adapter.")
    elif kind == "lora":
        yield "adapter", "qlora" if bits == 4 else "lora"
        yield "load_in_4bit", bits == 4
        yield "load_in_8bit", bits == 8
    if bits not in (None, 4, 8) or entries.get("quant_method", "bnb") != "bnb":
        message = (
            f"quant_method {entries.get('quant_method')!s:.60} with {bits!s:.60} bits is not bitsandbytes' 4 or 8."
        )
        yield Finding("load_in_4bit", "error", message)


def _write_targets(recipe: Recipe) -> Iterator[Said]:
    if not recipe.adapter:
        return
    targets = peft_targets(recipe)
    if isinstance(targets, list):
        yield "target_modules", targets
    elif targets == ALL_LINEAR:
        own = recipe.lora_target_modules if isinstance(recipe.lora_target_modules, tuple) else ()
        yield "target_modules", [ALL_LINEAR, *own]
        if recipe.lora_target_modules == ALL_LINEAR and not recipe.lora_target_linear:
            message = f"{TITLE} reads all-linear as names of linear modules; fused experts are not among them."
            yield otherwise("lora_target_modules", message)
    else:
        yield "target_regex", targets


def _read_targets(entries: Values) -> Iterator[Said]:
    regex, names = entries.get("target_regex"), entries.get("target_modules")
    if isinstance(names, str):
        names = names.split()
    if regex or not isinstance(names, list) or ALL_LINEAR not in names:
        yield "lora_target_modules", regex or names
        return
    yield "lora_target_linear", True
    others = [name for name in names if name != ALL_LINEAR]
    yield "lora_target_modules", others or None


def _write_saved_adapter(recipe: Recipe) -> Iterator[Said]:
    if recipe.adapter and recipe.lora_model_dir:
        yield "adapters", [recipe.lora_model_dir]


def _read_saved_adapter(entries: Values) -> Iterator[Said]:
    folders = entries.get("adapters")
    folders = folders.split() if isinstance(folders, str) else folders
    if folders:
        yield "lora_model_dir", folders[0] if isinstance(folders, list) else folders
    if isinstance(folders, list) and len(folders) > 1:
        yield otherwise("lora_model_dir", "adapters names several folders; one can be continued from.")


def _write_adapter_dtype(recipe: Recipe) -> Iterator[Said]:
    if recipe.adapter and trainer.wanted_adapter_dtype(recipe) != "float32":
        yield "lora_dtype", trainer.wanted_adapter_dtype(recipe)


def _read_adapter_dtype(entries: Values) -> Iterator[Said]:
    yield "peft_autocast_adapter_dtype", entries.get("lora_dtype") in (None, "float32")


def _write_start(recipe: Recipe) -> Iterator[Said]:
    start = recipe.peft_init_lora_weights
    if recipe.adapter and isinstance(start, str):
        yield "init_weights", start


def _read_start(entries: Values) -> Iterator[Said]:
    start = entries.get("init_weights")
    plain = {"true": None, "false": False}
    yield "peft_init_lora_weights", plain.get(start.lower(), start) if isinstance(start, str) else start


def _write_precision(recipe: Recipe) -> Iterator[Said]:
    yield "torch_dtype", trainer.base_dtype(recipe)
    yield "bf16", recipe.bf16
    yield "fp16", recipe.fp16


def _read_precision(entries: Values) -> Iterator[Said]:
    """What is not said follows from the dtype: anything but bfloat16 trains with float16's loss scale."""
    half = entries.get("torch_dtype") in ("float16", "float32")
    found = {"fp16": entries.get("fp16", half), "bf16": entries.get("bf16", not half)}
    yield from trainer.precision(dtype_key="torch_dtype").read({**entries, **found, "torch_dtype": _dtype(entries)})


def _dtype(entries: Values) -> Any:
    return entries.get("torch_dtype", "auto")


def _write_accumulation(recipe: Recipe) -> Iterator[Said]:
    yield "gradient_accumulation_steps", recipe.gradient_accumulation_steps


def _read_accumulation(entries: Values) -> Iterator[Said]:
    steps, rows = entries.get("gradient_accumulation_steps"), entries.get("per_device_train_batch_size")
    if steps is None and isinstance(rows, int) and rows > 0:
        steps = math.ceil(_ROWS / rows)
    yield "gradient_accumulation_steps", steps


def _write_packing(recipe: Recipe) -> Iterator[Said]:
    yield "packing", recipe.sample_packing
    if recipe.sample_packing and not (recipe.attn_implementation or "").startswith("flash_attention"):
        message = f"{TITLE} packs with a flash attention kernel only: set attn_implementation to flash_attention_2."
        yield otherwise("sample_packing", message)


def _read_beta2(entries: Values) -> Iterator[Said]:
    beta2 = entries.get("adam_beta2")
    if beta2 != _BETA2:
        message = f"{TITLE}'s adam_beta2 is {beta2!s:.60} here; Axolotl's is {_BETA2} unless adam_beta2 says otherwise."
        yield otherwise("optimizer", message)


VOCABULARY = Vocabulary(
    title=TITLE,
    words="ms_swift",
    # Base models are looked for on ModelScope otherwise, and AdamW is another one.
    fixed={"use_hf": True, "adam_beta2": _BETA2},
    defaults={
        **trainer.DEFAULTS,
        "tuner_type": "lora",
        "target_modules": [ALL_LINEAR],
        "modules_to_save": [],
        "lora_rank": 8,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "use_rslora": False,
        "use_dora": False,
        "init_weights": "true",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_quant_type": "nf4",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": None,
        "learning_rate": 1e-4,
        "weight_decay": 0.1,
        "adam_beta2": 0.95,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0,
        "packing": False,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {},
        "bf16": None,
        "fp16": None,
    },
    conversions=(
        Conversion(
            ("adapter", "load_in_4bit", "load_in_8bit"),
            ("tuner_type", "train_type", "quant_method", "quant_bits"),
            _write_adapter,
            _read_adapter,
        ),
        Conversion(
            ("lora_target_linear", "lora_target_modules"),
            ("target_modules", "target_regex"),
            _write_targets,
            _read_targets,
        ),
        Conversion(("lora_model_dir",), ("adapters",), _write_saved_adapter, _read_saved_adapter),
        Conversion(
            ("peft_autocast_adapter_dtype", "lora_fp32_gradients"),
            ("lora_dtype",),
            _write_adapter_dtype,
            _read_adapter_dtype,
        ),
        Conversion(("peft_init_lora_weights",), ("init_weights",), _write_start, _read_start),
        four_bit_options(TITLE, "bnb_4bit_use_double_quant", "bnb_4bit_quant_type"),
        Conversion(
            ("gradient_accumulation_steps",), ("gradient_accumulation_steps",), _write_accumulation, _read_accumulation
        ),
        Conversion(
            ("sample_packing",),
            ("packing",),
            _write_packing,
            lambda entries: [("sample_packing", entries.get("packing"))],
        ),
        Conversion(("bf16", "fp16"), ("torch_dtype", "bf16", "fp16"), _write_precision, _read_precision),
        trainer.checkpointing(TITLE, offloads=False),
        trainer.attention(TITLE, "attn_impl"),
        trainer.optimizers(TITLE),
        trainer.schedulers(TITLE),
        Conversion((), ("adam_beta2",), lambda recipe: (), _read_beta2),
        trainer.STEPS,
        trainer.WARMUP,
        trainer.TF32,
    ),
    by_itself=trainer.BY_ITSELF,
    aside=trainer.ASIDE
    | {"dataset", "val_dataset", "split_dataset_ratio", "dataset_num_proc", "add_version", "load_from_cache_file"}
    | {"system", "template", "model_name", "model_author", "model_revision", "cached_dataset", "check_model", "ENV"},
)


def export_ms_swift(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """What cannot be said stands above, as comments."""
    filled = filled_in(recipe)
    named = filled if has_own_meaning(filled, skeleton) else with_names(filled, skeleton)
    entries, unsaid = say(VOCABULARY, named)
    return yaml_file(COMMAND, entries, unsaid, _DATA)


def read_ms_swift(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none."""
    return hear(VOCABULARY, values)
