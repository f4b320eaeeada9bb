"""A file for torchtune's recipe lora_finetune_single_device. Facts: torchtune 0.6.1, that recipe and its components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lora_explorer.errors import ExportRefused
from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.filled_in import MOST_WARMUP_STEPS, WARMUP_RATIO, filled_in
from lora_explorer.exports.quantized_base import options
from lora_explorer.exports.target_names import with_names
from lora_explorer.exports.torchtune.builders import MODELS, Builder, builder_of, preset_of
from lora_explorer.exports.torchtune.targets import TITLE, targets
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
_COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
_CHUNKED = "torchtune.modules.loss.CEWithChunkedOutputLoss"
_PLAIN_LOSS = "torch.nn.CrossEntropyLoss"
_CHUNKS = 8
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
# Each class of optimizer, with its arguments, by the name of the same in Axolotl.
_OPTIMIZERS: Mapping[str, tuple[str, bool | None]] = {
    "adamw_torch_fused": ("torch.optim.AdamW", True),
    "adamw_torch": ("torch.optim.AdamW", None),
    "adamw_bnb_8bit": ("bitsandbytes.optim.AdamW8bit", None),
    "adamw_8bit": ("bitsandbytes.optim.AdamW8bit", None),
    "paged_adamw_8bit": ("bitsandbytes.optim.PagedAdamW8bit", None),
    "paged_adamw_32bit": ("bitsandbytes.optim.PagedAdamW", None),
    "adamw_torch_8bit": ("torchao.optim.AdamW8bit", None),
    "adamw_torch_4bit": ("torchao.optim.AdamW4bit", None),
    "sgd": ("torch.optim.SGD", None),
}


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


def _write_optimizer(recipe: Recipe) -> Iterator[Said]:
    component, fused = _OPTIMIZERS.get(recipe.optimizer, _OPTIMIZERS[trainer.OPTIMIZER])
    yield "optimizer._component_", component
    yield "optimizer.fused", fused
    if recipe.optimizer not in _OPTIMIZERS:
        yield otherwise("optimizer", f"{TITLE} has no optimizer {recipe.optimizer}; {trainer.OPTIMIZER} stands there.")


def _read_optimizer(entries: Values) -> Iterator[Said]:
    wanted = (entries.get("optimizer._component_"), True if entries.get("optimizer.fused") else None)
    found = [name for name, each in _OPTIMIZERS.items() if each == wanted]
    if not found:
        yield otherwise("optimizer", f"{str(wanted[0])[:80]} is no optimizer that Axolotl has; choose one.")
    yield "optimizer", found[0] if found else None


def _write_epochs(recipe: Recipe) -> Iterator[Said]:
    if recipe.max_steps is not None and recipe.max_steps > 0:
        yield "epochs", 1
        yield "max_steps_per_epoch", recipe.max_steps
        yield otherwise("max_steps", f"{TITLE} ends after max_steps or after one epoch, whichever comes first.", "note")
    else:
        epochs = max(1, round(recipe.num_epochs))
        yield "epochs", epochs
        if epochs != recipe.num_epochs:
            yield otherwise("num_epochs", f"{TITLE} runs whole epochs: {epochs} for {recipe.num_epochs}.")


def _read_epochs(entries: Values) -> Iterator[Said]:
    epochs, steps = entries.get("epochs"), entries.get("max_steps_per_epoch")
    yield "num_epochs", epochs
    if isinstance(steps, int) and isinstance(epochs, int) and not isinstance(steps, bool) and steps > 0:
        yield "max_steps", steps * epochs


def _write_schedule(recipe: Recipe) -> Iterator[Said]:
    yield "lr_scheduler._component_", _COSINE
    if recipe.lr_scheduler != "cosine":
        yield otherwise("lr_scheduler", f"{TITLE}'s recipe has the cosine schedule alone, not {recipe.lr_scheduler}.")
    yield "lr_scheduler.num_warmup_steps", warmup_steps(recipe) or 0
    if warmup_steps(recipe) is None:
        message = f"{TITLE} counts warm-up in steps: {recipe.warmup_ratio} of all steps is unknown before the run."
        yield otherwise("warmup_ratio", message)


def warmup_steps(recipe: Recipe) -> int | None:
    """Steps in which the learning rate rises; None where only their share of an unknown number is known."""
    if recipe.warmup_steps is not None:
        return int(recipe.warmup_steps)
    if not recipe.warmup_ratio:
        return 0
    if recipe.max_steps is None or recipe.max_steps < 1:
        return None
    steps = int(recipe.warmup_ratio * recipe.max_steps)
    return min(steps, MOST_WARMUP_STEPS) if recipe.warmup_ratio == WARMUP_RATIO else steps


def _read_schedule(entries: Values) -> Iterator[Said]:
    component = entries.get("lr_scheduler._component_")
    if component not in (None, _COSINE):
        yield otherwise("lr_scheduler", f"{str(component)[:80]} is no schedule that Axolotl has; choose one.")
    yield "lr_scheduler", "cosine"
    yield "warmup_steps", entries.get("lr_scheduler.num_warmup_steps")


def _write_precision(recipe: Recipe) -> Iterator[Said]:
    yield "dtype", "bf16" if recipe.bf16 else "fp32"
    if recipe.fp16:
        yield otherwise("fp16", f"{TITLE}'s recipe does not train in float16; float32 stands there.")


def _read_precision(entries: Values) -> Iterator[Said]:
    yield "bf16", entries.get("dtype") != "fp32"


def _adapter_dtype(recipe: Recipe) -> str:
    """Everything is in the one dtype of the file."""
    return "bfloat16" if recipe.bf16 else "float32"


def _write_memory(recipe: Recipe) -> Iterator[Said]:
    yield "enable_activation_checkpointing", bool(recipe.gradient_checkpointing)
    offloading = recipe.activation_offloading
    yield "enable_activation_offloading", offloading is True
    if offloading not in (True, False):
        yield otherwise("activation_offloading", f"{TITLE} has no activation_offloading {offloading}.", "note")


def _read_memory(entries: Values) -> Iterator[Said]:
    yield "gradient_checkpointing", entries.get("enable_activation_checkpointing")
    yield "activation_offloading", entries.get("enable_activation_offloading")


def _write_loss(recipe: Recipe) -> Iterator[Said]:
    yield "loss._component_", _CHUNKED if recipe.chunked_cross_entropy else _PLAIN_LOSS
    if recipe.chunked_cross_entropy:
        yield "loss.num_output_chunks", recipe.chunked_cross_entropy_num_chunks or _CHUNKS


def _read_loss(entries: Values) -> Iterator[Said]:
    chunked = entries.get("loss._component_") == _CHUNKED
    chunks = entries.get("loss.num_output_chunks")
    yield "chunked_cross_entropy", chunked
    yield "chunked_cross_entropy_num_chunks", chunks if chunked and chunks != _CHUNKS else None


def _clipping(recipe: Recipe) -> Iterator[Said]:
    # 0 turns clipping off in transformers, null here.
    yield "clip_grad_norm", recipe.max_grad_norm or None


def _vocabulary(builder: Builder | None) -> Vocabulary:
    return Vocabulary(
        title=TITLE,
        words="torchtune",
        fixed={"device": "cuda", "shuffle": True, "resume_from_checkpoint": False, "compile": False},
        defaults={
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
        },
        conversions=(
            Conversion(
                ("base_model", "adapter", "load_in_4bit", "load_in_8bit", "bnb_config_kwargs"),
                ("model._component_", "model.quantize_base"),
                lambda recipe: _write_model(builder, recipe) if builder else (),
                _read_model,
            ),
            targets(tied=bool(builder and builder.tied)),
            Conversion(
                ("optimizer",), ("optimizer._component_", "optimizer.fused"), _write_optimizer, _read_optimizer
            ),
            Conversion(
                ("num_epochs", "max_steps"), ("epochs", "max_steps_per_epoch"), _write_epochs, _read_epochs
            ),
            Conversion(
                ("lr_scheduler", "warmup_steps", "warmup_ratio"),
                ("lr_scheduler._component_", "lr_scheduler.num_warmup_steps"),
                _write_schedule,
                _read_schedule,
            ),
            Conversion(
                ("max_grad_norm",),
                ("clip_grad_norm",),
                _clipping,
                lambda entries: [("max_grad_norm", entries.get("clip_grad_norm", 0))],
            ),
            Conversion(("bf16", "fp16"), ("dtype",), _write_precision, _read_precision),
            trainer.adapter_dtype(TITLE, _adapter_dtype, lambda entries: entries.get("dtype") == "fp32"),
            Conversion(
                ("gradient_checkpointing", "activation_offloading"),
                ("enable_activation_checkpointing", "enable_activation_offloading"),
                _write_memory,
                _read_memory,
            ),
            Conversion(
                ("chunked_cross_entropy", "chunked_cross_entropy_num_chunks"),
                ("loss._component_", "loss.num_output_chunks"),
                _write_loss,
                _read_loss,
            ),
        ),
        by_itself=trainer.BY_ITSELF | {"attn_implementation"},
        aside=words(
            "output_dir tokenizer checkpointer dataset metric_logger log_every_n_steps log_peak_memory_stats profiler "
            "save_adapter_weights_only log_level collate_fn dataset_val run_val_every_n_steps low_cpu_ram"),
    )  # fmt: skip


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
