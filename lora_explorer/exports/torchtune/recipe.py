"""A file for torchtune's recipe lora_finetune_single_device. Facts: torchtune 0.6.1, that recipe and its components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lora_explorer.errors import ExportRefused
from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.quantized_base import options
from lora_explorer.exports.target_names import with_names
from lora_explorer.exports.torchtune.builders import MODELS, Builder, builder_of, preset_of
from lora_explorer.exports.torchtune.targets import TITLE, targets
from lora_explorer.exports.torchtune.training import TRAINING
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, hear, otherwise, say, words
from lora_explorer.exports.yaml_documents.text import value_as_text
from lora_explorer.exports.yaml_file import yaml_file
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

COMMAND = "tune run lora_finetune_single_device --config torchtune.yml"
# What its NF4 weights are.
_FOUR_BIT = {"bnb_4bit_use_double_quant": True, "bnb_4bit_quant_type": "nf4"}
# To be replaced by the user's own.
_DATASET = "torchtune.datasets.alpaca_cleaned_dataset"
_ORDER = (
    "model",
    "tokenizer",
    "dataset",
    "seed",
    "shuffle",
    "batch_size",
    "optimizer",
    "lr_scheduler",
    "loss",
    "epochs",
)

_FIXED = {"device": "cuda", "shuffle": True, "resume_from_checkpoint": False, "compile": False}
_DEFAULTS = {
    "model.apply_lora_to_mlp": False,
    "model.apply_lora_to_output": False,
    "model.lora_rank": 8,
    "model.lora_alpha": 16,
    "model.lora_dropout": 0,
    "model.use_dora": False,
    "model.quantize_base": False,
    "optimizer.weight_decay": 0.01,
    "enable_activation_checkpointing": False,
    "enable_activation_offloading": False,
    "dataset.packed": False,
    "gradient_accumulation_steps": None,
}
_ASIDE = words(
    "output_dir tokenizer checkpointer dataset metric_logger log_every_n_steps log_peak_memory_stats profiler "
    "save_adapter_weights_only log_level collate_fn dataset_val run_val_every_n_steps low_cpu_ram"
)


def _write_model(builder: Builder, recipe: Recipe) -> Iterator[Said]:
    yield "model._component_", builder.path
    yield "model.quantize_base", recipe.load_in_4bit
    if recipe.load_in_8bit:
        yield otherwise("load_in_8bit", f"{TITLE} has no 8-bit base weights; they are not quantized.")
    departing = [name for name, value in options(recipe).items() if value != _FOUR_BIT.get(name)]
    if recipe.load_in_4bit and departing:
        yield otherwise("bnb_config_kwargs", f"{TITLE} has nothing for {', '.join(map(str, departing))}.")


def _read_model(entries: Values) -> Iterator[Said]:
    path = str(entries.get("model._component_"))
    name = path.rpartition(".")[2]
    preset = preset_of(path)
    if preset is None:
        message = f"{path[:80]} is no builder known here; set base_model to the model that it builds."
        yield Finding("base_model", "warning", message)
    yield "base_model", preset
    quantized = bool(entries.get("model.quantize_base")) or name.startswith("qlora_")
    if not name.startswith(("lora_", "qlora_")):
        yield Finding("adapter", "error", f"{path[:80]} builds a model without an adapter.")
    yield "adapter", "qlora" if quantized else "lora"
    yield "load_in_4bit", quantized


def _vocabulary(builder: Builder | None) -> Vocabulary:
    """builder: of the base model; None while a file is read."""
    model = Conversion(
        ("base_model", "adapter", "load_in_4bit", "load_in_8bit", "bnb_config_kwargs"),
        ("model._component_", "model.quantize_base"),
        lambda recipe: _write_model(builder, recipe) if builder else (),
        _read_model,
    )
    return Vocabulary(
        title=TITLE,
        words="torchtune",
        fixed=_FIXED,
        defaults=_DEFAULTS,
        conversions=(model, targets(tied=bool(builder and builder.tied)), *TRAINING),
        by_itself=trainer.BY_ITSELF | {"attn_implementation"},
        aside=_ASIDE,
    )


def export_torchtune(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """Raises ExportRefused for base models that torchtune does not build, and without an adapter."""
    if not recipe.adapter:
        message = "adapter is empty, and torchtune's LoRA recipe trains nothing without one."
        raise ExportRefused(message, setting="adapter")
    builder = builder_of(recipe.base_model)
    vocabulary = _vocabulary(builder)
    entries, unsaid = say(vocabulary, with_names(filled_in(recipe), skeleton))
    # The recipe asks for these, whatever they are.
    asked = {"model.apply_lora_to_mlp": False, "max_steps_per_epoch": None, "clip_grad_norm": None, "seed": None}
    parts = {**_tokenizer(builder, recipe), "dataset._component_": _DATASET}
    return yaml_file(COMMAND, _in_order(asked | entries | parts), unsaid, _checkpoint(builder, recipe))


def _in_order(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The parts as torchtune's own files have them, each beginning with its component."""

    def place(key: str) -> tuple[int, bool]:
        part = key.partition(".")[0]
        return _ORDER.index(part) if part in _ORDER else len(_ORDER), not key.endswith("._component_")

    return {key: entries[key] for key in sorted(entries, key=place)}


def _folder(recipe: Recipe) -> str:
    """Where `tune download` puts a model, at the user's choice."""
    return f"./{PurePosixPath(recipe.base_model or 'model').name}"


def _tokenizer(builder: Builder, recipe: Recipe) -> dict[str, Any]:
    files = {f"tokenizer.{argument}": f"{_folder(recipe)}/{file}" for argument, file in builder.tokenizer_files.items()}
    return {"tokenizer._component_": builder.tokenizer, **files}


def _checkpoint(builder: Builder, recipe: Recipe) -> str:
    """Where the weights are; how many files they are in stands on the model's page on the Hub."""
    return f"""\
# Where the base model was downloaded to, with the names of its files, and where results go.
output_dir: ./model-out
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
  checkpoint_dir: {value_as_text(_folder(recipe))}
  checkpoint_files: [model.safetensors]
  recipe_checkpoint: null
  output_dir: ${{output_dir}}
  model_type: {builder.checkpoint}
metric_logger:
  _component_: torchtune.training.metric_logging.DiskLogger
  log_dir: ${{output_dir}}/logs
"""


def read_torchtune(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none."""
    settings, findings = hear(_vocabulary(None), values)
    model = values.get("model")
    component = model.get("_component_") if isinstance(model, Mapping) else model
    if str(component).startswith(MODELS):
        return settings, findings
    return settings, (
        Finding("base_model", "error", f"{str(component)[:80]} is not one of torchtune's models."),
        *findings,
    )
