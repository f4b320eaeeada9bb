"""The optimizer step on the meta device: the real optimizers, their states and their temporaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.plan.known_optimizers import OPTIMIZERS, PAGED, WIDE_FOR_TABLES, Optimizer
from lora_explorer.memory.plan.published_optimizers import PUBLISHED, published, unknown_optimizer
from lora_explorer.memory.watching.trace import Category
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.memory.watching.work import Work

Parameters = list[nn.Parameter]
# bitsandbytes/optim/optimizer.py, Optimizer8bit.get_state_buffer.
SMALLEST_PAGED_PARAMS = 100_000


class TrainedTensor(NamedTuple):
    """A trained parameter.

    decayed: whether weight decay applies to it, which puts it in a group of its own. embedding: it belongs to an
    embedding, the output head or a saved module, which optimizers of matrices leave to another update. table: it is the
    weight of an embedding itself, for which transformers' Trainer keeps 8-bit states in 32 bits (trainer.py).
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    decayed: bool = True
    embedding: bool = False
    table: bool = False


@dataclass(frozen=True)
class StepEvents:
    """Births, deaths and work as in Trace; optimizer states have no death. shared: states that all tensors have in
    common."""

    sizes_bytes: tuple[int, ...] = ()
    categories: tuple[Category, ...] = ()
    events: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()
    work: Work = field(default_factory=Work, compare=False)


@dataclass(frozen=True)
class OptimizerTrace:
    """clipping: of the gradients' norm. first: the step that also makes the states; later: every other."""

    clipping: StepEvents
    first: StepEvents
    later: StepEvents


@lru_cache(maxsize=32)
def trace_optimizer(name: str, tensors: tuple[TrainedTensor, ...], *, clips_gradients: bool) -> OptimizerTrace:
    """Births and deaths of an optimizer step. Raises MemoryUnknown for an optimizer that cannot be traced."""
    optimizer = _traceable(name, tensors)
    groups = [[tensor for tensor in tensors if tensor.decayed is decayed] for decayed in (True, False)]
    steps = _trace_loop(optimizer, groups) if optimizer.order == "one loop" else _trace_each(name, groups)
    clipping = _trace_clipping(len(tensors)) if clips_gradients and tensors else StepEvents()
    return OptimizerTrace(clipping, *steps)


def _traceable(name: str, tensors: Sequence[TrainedTensor]) -> Optimizer:
    """Raises MemoryUnknown for an optimizer that cannot be traced."""
    if name not in OPTIMIZERS:
        raise unknown_optimizer(name)
    if name.startswith("flash_") and all(tensor.dtype is torch.float32 for tensor in tensors):
        sentence = f"The optimizer {name} stops where every trained weight is in float32, as adapters are."
        raise MemoryUnknown(sentence, setting="optimizer", suggestion="adamw_torch_fused")
    return OPTIMIZERS[name]


def managed_bytes(name: str, tensors: Sequence[TrainedTensor]) -> int:
    """States in the driver's managed memory, outside the caching allocator: those of paged optimizers."""
    return sum(_managed_bytes(name, tensor) for tensor in tensors) if name in PAGED else 0


def work_of_step(name: str, tensors: Sequence[TrainedTensor]) -> Iterator[tuple[Work, int]]:
    """What the later steps of an optimizer compute and move, each with the number of tensors it is that of.

    Raises MemoryUnknown as `trace_optimizer`.
    """
    if _traceable(name, tensors).order == "one loop":
        yield trace_optimizer(name, tuple(tensors), clips_gradients=False).later.work, 1
        return
    for tensor, count in Counter(tensors).items():
        yield _trace_resident(name, tensor)[1].work, count


def _trace_loop(optimizer: Optimizer, groups: Sequence[Sequence[TrainedTensor]]) -> tuple[StepEvents, StepEvents]:
    """First and later step over all tensors at once."""
    made = [{"params": [_parameter(tensor) for tensor in group]} for group in groups if group]
    parameters = [parameter for group in made for parameter in group["params"]]
    if not parameters:
        return StepEvents(), StepEvents()
    stepping = optimizer.make(made)
    first = _watched(stepping.step, _held(parameters, {}))
    return first, _without_states(_watched(stepping.step, _held(parameters, stepping.state)))


def _trace_each(name: str, groups: Sequence[Sequence[TrainedTensor]]) -> tuple[StepEvents, StepEvents]:
    """First and later step, put together from those of single tensors."""
    single = {tensor: _trace_single(name, tensor) for group in groups for tensor in group}
    firsts = _sharing(single[tensor][0] for group in groups for tensor in group)
    laters = (single[tensor][1] for group in groups for tensor in group)
    first, later = (
        _joined([_group_events([next(parts) for _ in group], OPTIMIZERS[name]) for group in groups])
        for parts in (firsts, laters)
    )
    return first, later


def _parameter(tensor: TrainedTensor) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))
    parameter.grad = torch.empty_like(parameter)
    return parameter


def _trace_single(name: str, tensor: TrainedTensor) -> tuple[StepEvents, StepEvents]:
    """First and later step with one tensor, as the caching allocator sees them."""
    first, later = _trace_resident(name, tensor)
    return (_without(first, set(_managed(first, tensor))), later) if name in PAGED else (first, later)


@lru_cache(maxsize=1024)
def _trace_resident(name: str, tensor: TrainedTensor) -> tuple[StepEvents, StepEvents]:
    """First and later step of an optimizer with one tensor: tensors do not touch each other's states."""
    parameter = _parameter(tensor)
    made: list[Any] = []

    make = _maker(name, tensor)

    def make_and_step() -> None:
        # Some optimizers make their states when they are made, most in their first step.
        made.append(make([{"params": [parameter]}]))
        made[0].step()

    first = _watched(make_and_step, _held([parameter], {}), lambda: _tables(made[0]))
    later = _watched(made[0].step, _held([parameter], made[0].state))
    return first, _without_states(later)


def _maker(name: str, tensor: TrainedTensor) -> Callable[[list[dict[str, Any]]], Any]:
    if name in PUBLISHED:
        return published(name, embedding=tensor.embedding)
    return WIDE_FOR_TABLES[name] if tensor.table and name in WIDE_FOR_TABLES else OPTIMIZERS[name].make


def _sharing(parts: Iterable[StepEvents]) -> Iterator[StepEvents]:
    """Only the first tensor makes what all tensors of the optimizer share."""
    made = False
    for part in parts:
        yield _without(part, set(part.shared)) if made else part
        made = made or bool(part.shared)


def _managed(first: StepEvents, tensor: TrainedTensor) -> list[int]:
    """The states that bitsandbytes pages: those that have a value for each of 100,000 or more parameters."""
    params = math.prod(tensor.shape)
    if params < SMALLEST_PAGED_PARAMS:
        return []
    states = zip(first.sizes_bytes, first.categories, strict=True)
    return [number for number, (size, kind) in enumerate(states) if kind == "optimizer states" and size >= params]


def _managed_bytes(name: str, tensor: TrainedTensor) -> int:
    first, _ = _trace_resident(name, tensor)
    return sum(first.sizes_bytes[number] for number in _managed(first, tensor))


def _without(part: StepEvents, left_out: set[int]) -> StepEvents:
    """The events of all other storages, numbered on."""
    kept = [number for number in range(len(part.sizes_bytes)) if number not in left_out]
    renumbered = {number: position for position, number in enumerate(kept)}
    events = (
        renumbered[number] if number >= 0 else ~renumbered[~number]
        for number in part.events
        if (number if number >= 0 else ~number) in renumbered
    )
    sizes = tuple(part.sizes_bytes[number] for number in kept)
    shared = tuple(renumbered[number] for number in part.shared if number in renumbered)
    return StepEvents(sizes, tuple(part.categories[number] for number in kept), tuple(events), shared)


@lru_cache(maxsize=64)
def _trace_clipping(count: int) -> StepEvents:
    """Clipping looks at every gradient, but what it allocates depends on their number only."""
    parameters = [nn.Parameter(torch.empty(1, device="meta")) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return _watched(lambda: nn.utils.clip_grad_norm_(parameters, 1.0), [*parameters, *gradients])


def _tables(optimizer: Any) -> list[torch.Tensor]:
    """bitsandbytes' 8-bit optimizers read their states through tables of their own (optim/optimizer.py: name2qmap)."""
    return [table for table in getattr(optimizer, "name2qmap", {}).values() if table.device.type == "meta"]


def _watched(
    action: Callable[[], Any],
    known: Sequence[torch.Tensor],
    shared: Callable[[], Sequence[torch.Tensor]] = list,
) -> StepEvents:
    watch = StorageWatch("meta", {bool: True, int: 1, float: 1.0})
    watch.phase = "optimizer"
    watch.ignore(iter(known))
    with torch.no_grad(), watch:
        action()
        watch.settle()
    trace = watch.trace()
    # What a step leaves alive is a state; the watch calls it saved.
    categories: tuple[Category, ...] = tuple(
        "optimizer states" if category == "saved activations" else "temporaries" for category in trace.categories
    )
    numbers = tuple(watch.number_of(tensor) for tensor in shared())
    return StepEvents(tuple(trace.sizes_bytes), categories, tuple(trace.events), numbers, trace.work)


def _held(parameters: Parameters, states: Mapping[Any, Mapping[str, Any]]) -> list[torch.Tensor]:
    """The parameters, their gradients and their states on the device."""
    gradients = (parameter.grad for parameter in parameters)
    values = [*gradients, *(value for state in states.values() for value in state.values())]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    return [*parameters, *(tensor for tensor in tensors if tensor.device.type == "meta")]


def _without_states(later: StepEvents) -> StepEvents:
    """A state that a later step makes anew takes the place of the old one: for a while both are there."""
    replaced = [number for number, category in enumerate(later.categories) if category == "optimizer states"]
    categories: tuple[Category, ...] = tuple("temporaries" for _ in later.categories)
    return replace(later, categories=categories, events=(*later.events, *(~number for number in replaced)), shared=())


def _group_events(parts: list[StepEvents], optimizer: Optimizer) -> StepEvents:
    alike = len({len(part.events) for part in parts}) == 1
    return _interleaved(parts) if optimizer.order == "together" and alike else _joined(parts)


def _joined(parts: list[StepEvents]) -> StepEvents:
    """One after the other."""
    return _with_events(parts, _numbered_on(tuple((part.events, len(part.sizes_bytes)) for part in parts)))


@lru_cache(maxsize=64)
def _numbered_on(parts: tuple[tuple[tuple[int, ...], int], ...]) -> tuple[int, ...]:
    """Events one after the other, each with the number of storages in them; the same whatever the sizes are."""
    events: list[int] = []
    offset = 0
    for numbers, storages in parts:
        events.extend(number + offset if number >= 0 else number - offset for number in numbers)
        offset += storages
    return tuple(events)


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


def _with_events(parts: list[StepEvents], events: Sequence[int]) -> StepEvents:
    sizes = tuple(chain.from_iterable(part.sizes_bytes for part in parts))
    categories: tuple[Category, ...] = tuple(chain.from_iterable(part.categories for part in parts))
    return StepEvents(sizes, categories, tuple(events))


def trained_tensors(
    parameters: Sequence[tuple[str, nn.Parameter]], tables: Collection[torch.Tensor] = ()
) -> list[TrainedTensor]:
    """Shapes of named parameters. Biases and norms are not decayed, as in transformers' Trainer.

    tables: the weights of embeddings.
    """
    kept_wide = {id(table) for table in tables}
    return [
        TrainedTensor(
            tuple(parameter.shape),
            parameter.dtype,
            decayed=not ("bias" in path or "norm" in path.lower()),
            embedding=path.endswith("modules_to_save.default.weight") or "embed_tokens" in path or "lm_head" in path,
            table=id(parameter) in kept_wide,
        )
        for path, parameter in parameters
    ]
