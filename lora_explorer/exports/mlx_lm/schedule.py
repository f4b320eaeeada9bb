"""How long MLX-LM trains, and with which optimizer and learning rate. Facts: mlx-lm 0.32 and mlx.optimizers 0.32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer.exports.filled_in import MOST_WARMUP_STEPS, WARMUP_RATIO
from lora_explorer.exports.vocabulary import Conversion, Said, Values, otherwise
from lora_explorer.settings import Recipe

TITLE = "MLX-LM"
# Its AdamW leaves the first steps uncorrected unless it is told.
_ADAMW: Mapping[str, Any] = {"bias_correction": True}
# One of the same family, by Axolotl's names; the bytes of its states are its own.
_OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "sgd": "sgd",
    "adafactor": "adafactor",
    "muon": "muon",
}
LEARNING_RATE = 1e-5
# Their arguments begin with the learning rate and end with the number of steps.
_DECAYS = {"cosine": "cosine_decay", "linear": "linear_schedule"}


def _write_optimizer(recipe: Recipe) -> Iterator[Said]:
    name = _OPTIMIZERS.get(recipe.optimizer, "adamw")
    yield "optimizer", name
    if name == "adamw":
        yield "optimizer_config.adamw", {**_ADAMW, "weight_decay": recipe.weight_decay}
    elif recipe.weight_decay or name == "muon":
        yield f"optimizer_config.{name}", {"weight_decay": recipe.weight_decay}
    if recipe.optimizer not in _OPTIMIZERS:
        yield otherwise("optimizer", f"{TITLE} has no optimizer {recipe.optimizer}; its adamw stands there.")


def _read_optimizer(entries: Values) -> Iterator[Said]:
    name = entries.get("optimizer")
    named = [theirs for theirs, ours in _OPTIMIZERS.items() if ours == name and theirs != "adamw_torch"]
    if not named:
        yield otherwise(
            "optimizer", f"{TITLE}'s optimizer {name!s:.60} is none of Axolotl's; adamw_torch stands there."
        )
    yield "optimizer", named[0] if named else "adamw_torch"
    options = entries.get(f"optimizer_config.{name}") if isinstance(name, str) else None
    options = options if isinstance(options, Mapping) else {}
    # What its classes take by themselves.
    yield "weight_decay", options.get("weight_decay", 0.01 if name in ("adamw", "muon") else 0)
    others = [str(key) for key in options if key not in ("weight_decay", "bias_correction")]
    if others:
        yield otherwise("optimizer", f"{', '.join(others)} of optimizer_config have no setting here.")


OPTIMIZER = Conversion(
    ("optimizer", "weight_decay"),
    ("optimizer", *(f"optimizer_config.{name}" for name in ("adam", "adamw", "muon", "sgd", "adafactor"))),
    _write_optimizer,
    _read_optimizer,
)


def _write_length(recipe: Recipe) -> Iterator[Said]:
    """It counts batches, not steps of the optimizer."""
    if recipe.max_steps is not None and recipe.max_steps > 0:
        yield "iters", recipe.max_steps * recipe.gradient_accumulation_steps
    else:
        message = f"{TITLE} counts batches, not epochs: set iters to the rows of your data / micro_batch_size."
        yield otherwise("num_epochs", message)


def _read_length(entries: Values) -> Iterator[Said]:
    batches, each = entries.get("iters"), entries.get("grad_accumulation_steps")
    if isinstance(batches, int) and isinstance(each, int) and each > 0:
        yield "max_steps", batches // each


LENGTH = Conversion(("num_epochs", "max_steps"), ("iters",), _write_length, _read_length)


def _write_schedule(recipe: Recipe) -> Iterator[Said]:
    if recipe.learning_rate is None:
        yield otherwise("learning_rate", f"learning_rate is empty, and {TITLE} then takes {LEARNING_RATE}.")
    yield "learning_rate", recipe.learning_rate
    steps = recipe.max_steps if recipe.max_steps is not None and recipe.max_steps > 0 else None
    if recipe.lr_scheduler == "constant":
        return
    if recipe.lr_scheduler not in _DECAYS or steps is None or recipe.learning_rate is None:
        yield from _without_schedule(recipe)
        return
    warmup = _warmup_steps(recipe, steps)
    yield "lr_schedule.name", _DECAYS[recipe.lr_scheduler]
    yield "lr_schedule.warmup", warmup
    rest = max(1, steps - warmup)
    to_zero = [0.0, rest] if recipe.lr_scheduler == "linear" else [rest]
    yield "lr_schedule.arguments", [recipe.learning_rate, *to_zero]


def _without_schedule(recipe: Recipe) -> Iterator[Said]:
    why = "needs max_steps to decay over" if recipe.lr_scheduler in _DECAYS else "is none that this file can have"
    yield otherwise("lr_scheduler", f"The schedule {recipe.lr_scheduler} {why}; the learning rate stays the same.")
    warmup = "warmup_ratio" if recipe.warmup_steps is None else "warmup_steps"
    if getattr(recipe, warmup):
        yield otherwise(warmup, f"Without a schedule there is no warm-up either: {warmup} is left out.")


def _warmup_steps(recipe: Recipe, steps: int) -> int:
    if recipe.warmup_steps is not None:
        return int(recipe.warmup_steps)
    share = int((recipe.warmup_ratio or 0) * steps)
    return min(share, MOST_WARMUP_STEPS) if recipe.warmup_ratio == WARMUP_RATIO else share


def _read_schedule(entries: Values) -> Iterator[Said]:
    name, arguments = entries.get("lr_schedule.name"), entries.get("lr_schedule.arguments")
    rate = arguments[0] if isinstance(arguments, list) and arguments else None
    yield "learning_rate", entries.get("learning_rate") if rate is None else rate
    named = [ours for ours, theirs in _DECAYS.items() if theirs == name]
    yield "lr_scheduler", "constant" if name is None else named[0] if named else "cosine"
    yield "warmup_steps", entries.get("lr_schedule.warmup", 0)
    if name is not None and not named:
        yield otherwise("lr_scheduler", f"{TITLE}'s schedule {name!s:.60} is none of Axolotl's; cosine stands there.")
    if entries.get("lr_schedule.warmup_init"):
        yield otherwise("warmup_steps", "warmup_init has no setting here; Axolotl's warm-up starts from 0.")


SCHEDULE = Conversion(
    ("learning_rate", "lr_scheduler", "warmup_steps", "warmup_ratio"),
    (
        "learning_rate",
        "lr_schedule.name",
        "lr_schedule.warmup",
        "lr_schedule.warmup_init",
        "lr_schedule.arguments",
    ),
    _write_schedule,
    _read_schedule,
)
