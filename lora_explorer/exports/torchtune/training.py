"""How torchtune trains: optimizer, schedule, length, precision and memory. Facts: torchtune 0.6.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.filled_in import MOST_WARMUP_STEPS, WARMUP_RATIO
from lora_explorer.exports.torchtune.targets import TITLE
from lora_explorer.exports.vocabulary import Conversion, Said, Values, otherwise
from lora_explorer.settings import Recipe

_COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
_CHUNKED = "torchtune.modules.loss.CEWithChunkedOutputLoss"
_PLAIN_LOSS = "torch.nn.CrossEntropyLoss"
_CHUNKS = 8
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


TRAINING = (
    Conversion(("optimizer",), ("optimizer._component_", "optimizer.fused"), _write_optimizer, _read_optimizer),
    Conversion(("num_epochs", "max_steps"), ("epochs", "max_steps_per_epoch"), _write_epochs, _read_epochs),
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
)
