"""The optimizer step on the meta device: the real optimizers, their states and their temporaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.trace import Category
from lora_explorer.memory.watch import StorageWatch

Parameters = list[nn.Parameter]
_LEARNING_RATE = 1e-4


class TrainedTensor(NamedTuple):
    """A trained parameter. decayed: whether weight decay applies to it, which puts it in a group of its own."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    decayed: bool = True


@dataclass(frozen=True)
class StepEvents:
    """Births and deaths as in Trace; optimizer states have no death."""

    sizes_bytes: tuple[int, ...] = ()
    categories: tuple[Category, ...] = ()
    events: tuple[int, ...] = ()


@dataclass(frozen=True)
class OptimizerTrace:
    """clipping: of the gradients' norm. first: the step that also makes the states; later: every other."""

    clipping: StepEvents
    first: StepEvents
    later: StepEvents


class Optimizer(NamedTuple):
    """make: from parameter groups. together: every operation runs over all tensors of a group before the next one."""

    make: Callable[[list[dict[str, Any]]], Any]
    together: bool = False


@lru_cache(maxsize=32)
def trace_optimizer(name: str, tensors: tuple[TrainedTensor, ...], *, clips_gradients: bool) -> OptimizerTrace:
    """Births and deaths of an optimizer step. Raises MemoryUnknown for an optimizer that cannot be traced."""
    optimizer = OPTIMIZERS.get(name)
    if optimizer is None:
        raise MemoryUnknown(
            f"The memory of the optimizer {name} is not known: its states cannot be traced here.",
            setting="optimizer",
            suggestion="adamw_torch_fused",
        )
    groups = [[tensor for tensor in tensors if tensor.decayed is decayed] for decayed in (True, False)]
    single = {tensor: _trace_single(name, tensor) for tensor in set(tensors)}
    first, later = (
        _joined([_group_events([single[tensor][turn] for tensor in group], optimizer) for group in groups])
        for turn in (0, 1)
    )
    clipping = _trace_clipping(len(tensors)) if clips_gradients and tensors else StepEvents()
    return OptimizerTrace(clipping, first, later)


@lru_cache(maxsize=1024)
def _trace_single(name: str, tensor: TrainedTensor) -> tuple[StepEvents, StepEvents]:
    """First and later step of an optimizer with one tensor: tensors do not touch each other's states."""
    parameter = nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))
    parameter.grad = torch.empty_like(parameter)
    made: list[Any] = []

    def make_and_step() -> None:
        # Some optimizers make their states when they are made, most in their first step.
        made.append(OPTIMIZERS[name].make([{"params": [parameter]}]))
        made[0].step()

    first = _watched(make_and_step, _held(parameter, {}))
    later = _watched(made[0].step, _held(parameter, made[0].state))
    return first, _without_states(later)


@lru_cache(maxsize=64)
def _trace_clipping(count: int) -> StepEvents:
    """Clipping looks at every gradient, but what it allocates depends on their number only."""
    parameters = [nn.Parameter(torch.empty(1, device="meta")) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return _watched(lambda: nn.utils.clip_grad_norm_(parameters, 1.0), [*parameters, *gradients])


def _watched(action: Callable[[], Any], known: Sequence[torch.Tensor]) -> StepEvents:
    watch = StorageWatch("meta", {bool: True, int: 1, float: 1.0})
    watch.ignore(iter(known))
    with torch.no_grad(), watch:
        action()
        watch.settle()
    trace = watch.trace()
    # What a step leaves alive is a state; the watch calls it saved.
    categories: tuple[Category, ...] = tuple(
        "optimizer states" if category == "saved activations" else "temporaries" for category in trace.categories
    )
    return StepEvents(tuple(trace.sizes_bytes), categories, tuple(trace.events))


def _held(parameter: nn.Parameter, states: Mapping[Any, Mapping[str, Any]]) -> list[torch.Tensor]:
    """The parameter, its gradient and its states on the device."""
    values = [parameter.grad, *(value for state in states.values() for value in state.values())]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    return [parameter, *(tensor for tensor in tensors if tensor.device.type == "meta")]


def _without_states(later: StepEvents) -> StepEvents:
    """A state that a later step makes anew takes the place of the old one: for a while both are there."""
    replaced = [number for number, category in enumerate(later.categories) if category == "optimizer states"]
    categories: tuple[Category, ...] = tuple("temporaries" for _ in later.categories)
    return StepEvents(later.sizes_bytes, categories, (*later.events, *(~number for number in replaced)))


def _group_events(parts: list[StepEvents], optimizer: Optimizer) -> StepEvents:
    alike = len({len(part.events) for part in parts}) == 1
    return _interleaved(parts) if optimizer.together and alike else _joined(parts)


def _joined(parts: list[StepEvents]) -> StepEvents:
    """One after the other."""
    events: list[int] = []
    offset = 0
    for part in parts:
        events.extend(number + offset if number >= 0 else number - offset for number in part.events)
        offset += len(part.sizes_bytes)
    return _with_events(parts, events)


def _interleaved(parts: list[StepEvents]) -> StepEvents:
    """Every event of all parts before the next one."""
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part.sizes_bytes))
    events = [
        number + offset if number >= 0 else number - offset
        for numbers in zip(*(part.events for part in parts), strict=True)
        for number, offset in zip(numbers, offsets, strict=False)
    ]
    return _with_events(parts, events)


def _with_events(parts: list[StepEvents], events: list[int]) -> StepEvents:
    sizes = tuple(size for part in parts for size in part.sizes_bytes)
    categories: tuple[Category, ...] = tuple(category for part in parts for category in part.categories)
    return StepEvents(sizes, categories, tuple(events))


class _FusedAdamW:
    """torch's fused AdamW: two moments in the parameter's type and a step count on the device; no temporaries."""

    def __init__(self, groups: list[dict[str, Parameters]]) -> None:
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self.state: dict[nn.Parameter, dict[str, torch.Tensor]] = {}

    def step(self) -> None:
        for parameter in self._parameters:
            if parameter not in self.state:
                self.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }


def _torch(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda groups: getattr(torch.optim, name)(groups, lr=_LEARNING_RATE, **options)


def _bitsandbytes(name: str, **options: Any) -> Callable[[Any], Any]:
    def make(groups: Any) -> Any:
        import bitsandbytes as bnb

        return getattr(bnb.optim, name)(groups, lr=_LEARNING_RATE, **options)

    return make


def _adafactor(groups: Any) -> Any:
    from transformers.optimization import Adafactor

    make: Callable[..., Any] = Adafactor
    return make(groups, lr=_LEARNING_RATE, scale_parameter=False, relative_step=False)


# Paged optimizers are traced in their resident form: where the states lie is the driver's choice.
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw_torch": Optimizer(_torch("AdamW", foreach=True), together=True),
    "adamw_torch_fused": Optimizer(_FusedAdamW),
    "adamw_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "adamw_bnb_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "paged_adamw_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "paged_adamw_32bit": Optimizer(_bitsandbytes("AdamW32bit")),
    "ademamix": Optimizer(_bitsandbytes("AdEMAMix")),
    "ademamix_8bit": Optimizer(_bitsandbytes("AdEMAMix8bit")),
    "paged_ademamix_32bit": Optimizer(_bitsandbytes("AdEMAMix")),
    "paged_ademamix_8bit": Optimizer(_bitsandbytes("AdEMAMix8bit")),
    "lion_32bit": Optimizer(_bitsandbytes("Lion32bit")),
    "lion_8bit": Optimizer(_bitsandbytes("Lion8bit")),
    "paged_lion_32bit": Optimizer(_bitsandbytes("Lion32bit")),
    "paged_lion_8bit": Optimizer(_bitsandbytes("Lion8bit")),
    "rmsprop": Optimizer(_torch("RMSprop", foreach=True), together=True),
    "adagrad": Optimizer(_torch("Adagrad", foreach=True), together=True),
    "sgd": Optimizer(_torch("SGD", foreach=True), together=True),
    "adafactor": Optimizer(_adafactor),
}
PAGED = frozenset(name for name in OPTIMIZERS if name.startswith("paged_"))


def trained_tensors(parameters: Sequence[tuple[str, nn.Parameter]]) -> list[TrainedTensor]:
    """Shapes of named parameters. Biases and norms are not decayed, as in transformers' Trainer."""
    return [
        TrainedTensor(tuple(parameter.shape), parameter.dtype, not ("bias" in path or "norm" in path.lower()))
        for path, parameter in parameters
    ]
