"""TRL's YAML for `trl sft --config`, both ways. Facts: TRL 1.16, ModelConfig, SFTConfig and its SFT script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.quantized_base import four_bit_options
from lora_explorer.exports.target_names import name_as_regex, name_in_regex, peft_targets, unnamed, with_names
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, hear, otherwise, say, words
from lora_explorer.exports.yaml_file import yaml_file
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

TITLE = "TRL"
COMMAND = "trl sft --config trl.yml"
MARKS = words("use_peft lora_task_type use_bnb_nested_quant dataset_text_field assistant_only_loss")
_DATA = "# Your data goes here.\ndataset_name: trl-lib/Capybara\noutput_dir: ./model-out\n"


def _write_adapter(recipe: Recipe) -> Iterator[Said]:
    yield "use_peft", bool(recipe.adapter)


def _read_adapter(entries: Values) -> Iterator[Said]:
    if entries.get("use_peft"):
        yield "adapter", "qlora" if entries.get("load_in_4bit") else "lora"


def _write_targets(recipe: Recipe) -> Iterator[Said]:
    if not recipe.adapter:
        return
    targets = peft_targets(recipe)
    if isinstance(targets, list) and len(targets) == 1:
        # TRL takes a list of one out of its list, and PEFT then reads it as a regex.
        targets = name_as_regex(targets[0])
    yield "lora_target_modules", targets
    yield from unnamed(recipe)


def _read_targets(entries: Values) -> Iterator[Said]:
    targets = entries.get("lora_target_modules")
    if isinstance(targets, list) and len(targets) == 1:
        targets = targets[0]
    name = name_in_regex(targets) if isinstance(targets, str) else None
    yield "lora_target_modules", (name,) if name else targets
    if entries.get("use_peft") and targets is None and not entries.get("lora_target_parameters"):
        message = "lora_target_modules is missing, so PEFT picks modules by the model's family; name them."
        yield otherwise("lora_target_modules", message)


def _adapter_dtype(recipe: Recipe) -> str:
    return "bfloat16" if recipe.load_in_4bit or recipe.load_in_8bit else "float32"


def _in_float32(entries: Values) -> bool:
    return not (entries.get("load_in_4bit") or entries.get("load_in_8bit"))


VOCABULARY = Vocabulary(
    title=TITLE,
    words="trl",
    defaults={
        **trainer.DEFAULTS,
        "use_peft": False,
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "use_rslora": False,
        "use_dora": False,
        "lora_modules_to_save": [],
        "load_in_4bit": False,
        "load_in_8bit": False,
        "use_bnb_nested_quant": False,
        "bnb_4bit_quant_type": "nf4",
        "dtype": "float32",
        "max_length": 1024,
        "packing": False,
        "learning_rate": 2e-5,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {},
        "activation_offloading": False,
        "bf16": None,
    },
    conversions=(
        Conversion(("adapter",), ("use_peft", "load_in_4bit"), _write_adapter, _read_adapter),
        Conversion(
            ("lora_target_linear", "lora_target_modules"), ("lora_target_modules",), _write_targets, _read_targets
        ),
        four_bit_options(TITLE, "use_bnb_nested_quant", "bnb_4bit_quant_type"),
        trainer.adapter_dtype(TITLE, _adapter_dtype, _in_float32),
        trainer.precision(dtype_key="dtype"),
        trainer.checkpointing(TITLE, offloads=True),
        trainer.attention(TITLE),
        trainer.optimizers(TITLE),
        trainer.schedulers(TITLE),
        trainer.STEPS,
        trainer.WARMUP_AS_STEPS,
        trainer.TF32,
    ),
    by_itself=trainer.BY_ITSELF,
    aside=trainer.ASIDE
    | {"dataset_name", "dataset_config", "dataset_train_split", "dataset_test_split", "dataset_text_field", "datasets"}
    | {"dataset_num_proc", "shuffle_dataset", "eval_packing", "env", "model_revision", "dataset_streaming"},
)


def export_trl(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """What cannot be said stands above, as comments."""
    entries, unsaid = say(VOCABULARY, with_names(filled_in(recipe), skeleton))
    return yaml_file(COMMAND, entries, unsaid, _DATA)


def read_trl(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none."""
    return hear(VOCABULARY, values)
