"""One step spread over several GPUs: what each of them holds, and when.

DistributedDataParallel (torch/nn/parallel, torch 2.13) keeps the whole model on every GPU and copies gradients into
buckets to exchange them. FullyShardedDataParallel with full sharding (torch/distributed/fsdp) keeps a share of every
parameter, gradient and optimizer state, and gathers one unit at a time: each repeated layer is a unit, so is each
trained module of an adapter (peft.utils.other.fsdp_auto_wrap_policy), and the rest of the model is the root unit,
which stays gathered from the first forward operation to the last of the backward pass.
Quantization states are no parameters and stay whole on every GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import torch

from lora_explorer.memory.plan.optimizers import TrainedTensor
from lora_explorer.memory.watching.trace import Resident, Trace

# torch/distributed/distributed_c10d.py: the first bucket is small so that the exchange begins early.
FIRST_BUCKET_BYTES = 1 << 20
BUCKET_BYTES = 25 << 20

Sharding = Literal["none", "full"]

_ADAPTER = ("adapter", "saved copies")


@dataclass(frozen=True)
class Parallelism:
    """How several GPUs share a step; each has rows of its own.

    sharding: "none" is DistributedDataParallel, "full" FullyShardedDataParallel or ZeRO-3.
    float32_shards: trained parameters are kept in float32 and gathered in the type of the step, as mixed precision
    does. holds_layer_inputs: each layer's input and its gradient stay until the backward pass is over, as they do when
    a reentrant checkpoint lies around a frozen unit (transformers before 4.53): the hook that lets go of the gathered
    unit holds the input.
    """

    n_gpus: int
    sharding: Sharding = "none"
    float32_shards: bool = False
    holds_layer_inputs: bool = False


class Share(NamedTuple):
    """What one GPU has of a traced step."""

    residents: tuple[Resident, ...]
    trained: tuple[TrainedTensor, ...]
    trace: Trace


def share_of(whole: Share, parallelism: Parallelism | None) -> Share:
    """What one of the GPUs has of a step that was traced on one alone."""
    if parallelism is None or parallelism.n_gpus == 1:
        return whole
    if parallelism.sharding == "none":
        return whole._replace(residents=(*whole.residents, *_buckets(whole.trained)))
    return _sharded(whole, parallelism)


def _buckets(trained: Sequence[TrainedTensor]) -> Iterator[Resident]:
    """Room for a second copy of the gradients, filled in the order in which they come: the last parameter first."""
    limit, filled = FIRST_BUCKET_BYTES, 0
    for tensor in reversed(trained):
        filled += tensor.dtype.itemsize * torch.Size(tensor.shape).numel()
        if filled >= limit:
            yield Resident(filled, "gradients", None, "bucket")
            limit, filled = BUCKET_BYTES, 0
    if filled:
        yield Resident(filled, "gradients", None, "bucket")


def _sharded(whole: Share, parallelism: Parallelism) -> Share:
    adapted = any(resident.category in _ADAPTER for resident in whole.residents)
    n_gpus = parallelism.n_gpus
    widened = _widening(whole.trained) if parallelism.float32_shards else 1
    residents = tuple(
        _shard(resident, n_gpus, widened if _is_trained(resident, adapted=adapted) else 1)
        for resident in whole.residents
    )
    trained = tuple(
        TrainedTensor(
            (-(-torch.Size(tensor.shape).numel() // n_gpus),),
            torch.float32 if parallelism.float32_shards else tensor.dtype,
            tensor.decayed,
        )
        for tensor in whole.trained
    )
    writer = _Writer(whole, parallelism, adapted=adapted, widened=widened)
    return Share(residents, trained, writer.write())


def _widening(trained: Sequence[TrainedTensor]) -> int:
    """How many times wider float32 is than what is trained."""
    return 4 // min((tensor.dtype.itemsize for tensor in trained), default=4)


def _is_trained(resident: Resident, *, adapted: bool) -> bool:
    return resident.category in _ADAPTER or (not adapted and _is_parameter(resident))


def _is_parameter(resident: Resident) -> bool:
    # Buffers are computed, not loaded.
    return resident.category in _ADAPTER or (resident.category == "base weights" and resident.arrives_bytes > 0)


def _shard(resident: Resident, n_gpus: int, widened: int) -> Resident:
    if not _is_parameter(resident):
        return resident
    size = -(-resident.size_bytes * widened // n_gpus)
    # Sharding is done before a weight is on the device, so its share arrives as it stays.
    return resident._replace(size_bytes=size, arrives_bytes=size)


class _Writer:
    """Writes a trace anew with units gathered where they are needed and gradients shared where they are made."""

    def __init__(self, whole: Share, parallelism: Parallelism, *, adapted: bool, widened: int) -> None:
        self._trace = whole.trace
        self._parallelism = parallelism
        self._adapted = adapted
        self._widened = widened
        self._unit_bytes = _unit_bytes(whole.residents)
        segments = [segment for _, segment in whole.trace.marks]
        self._layers = sorted({segment.layer for segment in segments if segment.layer is not None})
        self._backward = next((n for n, segment in enumerate(segments) if segment.phase == "backward"), -1)
        self._sizes = list(whole.trace.sizes_bytes)
        self._categories = list(whole.trace.categories)
        self._events: list[int] = []
        self._gathered: dict[int | None, int] = {}
        self._whole_gradients: list[int] = []
        self._shared: set[int] = set()
        self._held: list[int] = []
        self._born_in = [-1] * len(whole.trace.sizes_bytes)

    def write(self) -> Trace:
        trace, marks = self._trace, []
        self._gather(None)
        for index, (start, end) in enumerate(_stretches(trace)):
            segment = trace.marks[index][1]
            marks.append((len(self._events) if index else 0, segment))
            self._enter(index)
            self._copy(index, trace.events[start:end])
            self._leave(index)
        self._events.extend(~number for number in self._held)
        self._share_gradients()
        self._let_go(None)
        return Trace(self._sizes, self._categories, self._events, marks, trace.finish)

    def _enter(self, index: int) -> None:
        segment = self._trace.marks[index][1]
        if segment.layer is not None:
            self._gather(segment.layer)
        if index == self._backward:
            self._prefetch(len(self._layers))
        elif segment.phase == "backward" and segment.layer is not None and not self._adapted:
            self._prefetch(segment.layer)

    def _leave(self, index: int) -> None:
        segment = self._trace.marks[index][1]
        if segment.layer is None:
            return
        if segment.phase == "backward" and not self._adapted:
            self._share_gradients()
        self._let_go(segment.layer)

    def _copy(self, index: int, events: Sequence[int]) -> None:
        segment = self._trace.marks[index][1]
        gradients = [number for number in events if number >= 0 and self._categories[number] == "gradients"]
        for number in events:
            if number >= 0:
                self._born_in[number] = index
            if number < 0 and ~number in self._shared:
                continue
            if number < 0 and self._is_held(~number, index):
                self._held.append(~number)
                continue
            if gradients and number == gradients[-1] and self._adapted and segment.layer is not None:
                # The first adapter of the layer is the last to come back: the unit before it is the next layer's.
                self._prefetch(segment.layer)
            self._events.append(number)
            if number >= 0 and self._categories[number] == "gradients":
                self._whole_gradients.append(number)
                if self._adapted:
                    self._share_gradients()

    def _is_held(self, number: int, dies_in: int) -> bool:
        """Whether it is a layer's input, or the gradient of one, that something holds beyond its use."""
        if not (self._parallelism.holds_layer_inputs and self._adapted) or self._categories[number] == "gradients":
            return False
        born, dies = self._trace.marks[self._born_in[number]][1], self._trace.marks[dies_in][1]
        if dies.phase != "backward" or self._born_in[number] == dies_in:
            return False
        if born.phase == "forward":
            return born.place != "head" and dies.layer is not None
        return born.layer is not None

    def _prefetch(self, before: int) -> None:
        """Gather the layer whose backward comes after this one's, as BACKWARD_PRE does."""
        # A unit inside a checkpoint is not known to be needed again until the checkpoint runs.
        if before and not self._parallelism.holds_layer_inputs:
            self._gather(before - 1)

    def _gather(self, unit: int | None) -> None:
        size = self._unit_bytes.get(unit, 0)
        if size and unit not in self._gathered:
            self._gathered[unit] = self._born(size, "base weights")

    def _let_go(self, unit: int | None) -> None:
        if unit in self._gathered:
            self._events.append(~self._gathered.pop(unit))

    def _share_gradients(self) -> None:
        """Reduce and scatter what was made: one GPU keeps its share, in the type of its shards."""
        made, self._whole_gradients = self._whole_gradients, []
        if not made:
            return
        total = sum(self._sizes[number] for number in made)
        flat = self._born(total, "gradients") if len(made) > 1 else None
        if flat is not None:
            self._die(made)
        self._born(-(-total * self._widened // self._parallelism.n_gpus), "gradients")
        self._die(made if flat is None else [flat])

    def _die(self, numbers: Sequence[int]) -> None:
        self._events.extend(~number for number in numbers)
        self._shared.update(numbers)

    def _born(self, size: int, category: Literal["base weights", "gradients"]) -> int:
        number = len(self._sizes)
        self._sizes.append(size)
        self._categories.append(category)
        self._events.append(number)
        return number


def _stretches(trace: Trace) -> list[tuple[int, int]]:
    starts = [0, *(start for start, _ in list(trace.marks)[1:]), len(trace.events)]
    return list(pairwise(starts))


def _unit_bytes(residents: Sequence[Resident]) -> dict[int | None, int]:
    """Gathered size of each layer's unit, and of the root's under None. Adapters' own units are too small to count."""
    weights = [resident for resident in residents if resident.category == "base weights" and _is_parameter(resident)]
    ordered = sorted(weights, key=_unit_order)
    return {
        unit: sum(resident.size_bytes for resident in group)
        for unit, group in groupby(ordered, key=lambda resident: resident.layer)
    }


def _unit_order(resident: Resident) -> int:
    return -1 if resident.layer is None else resident.layer
