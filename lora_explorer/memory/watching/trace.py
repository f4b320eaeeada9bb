"""What a watched training step leaves behind: storages, their births and deaths in order, and where each happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lora_explorer.memory.watching.work import Work

Whole = NDArray[np.int64]

Category = Literal[
    "base weights",
    "quantization state",
    "adapter",
    "saved copies",
    "gradients",
    "optimizer states",
    "saved activations",
    "logits and loss",
    "temporaries",
    "workspaces",
]
Phase = Literal["load", "forward", "backward", "optimizer"]
Place = Literal["embedding", "layer", "head"]


class Segment(NamedTuple):
    """A stretch of the step: which phase, which part of the model, and which layer of the full model."""

    phase: Phase
    place: Place
    layer: int | None = None


class Resident(NamedTuple):
    """A storage that is there before the step begins.

    layer: its layer, None outside the repeated layers. arrives_bytes: size of the checkpoint's tensor that it is made
    from while loading; 0 when it is not made from one. quantized: made beside that tensor, which is then let go at
    once; other tensors whose type changes are converted after all of them have arrived. copied: made from another one
    after loading.
    """

    size_bytes: int
    category: Category
    layer: int | None
    path: str
    arrives_bytes: int = 0
    quantized: bool = False
    copied: bool = False


class Departure(NamedTuple):
    """Something about what leaves for the host and is held on its way.

    "leaves": a tensor leaves under `number`, and those that left `window` numbers before are let go. "all let go": the
    others are too. "died": the event at `position` is a death because `number` was let go.
    position, segments: how many events and marks there were before.
    """

    kind: Literal["leaves", "all let go", "died"]
    position: int
    segments: int
    number: int = 0
    window: int = 0


@dataclass(frozen=True)
class Trace:
    """Births and deaths of one forward and backward pass.

    sizes_bytes, categories: one entry per storage, numbered in order of birth.
    events: `i` is the birth of storage i, `~i` its death. Storages without a death outlive the backward pass.
    marks: (position in events, segment that begins there), in order.
    finish: storages that are let go after the optimizer step, other than gradients.
    departures: what was held on its way to the host, in order. work: what was computed and moved.
    """

    sizes_bytes: Sequence[int]
    categories: Sequence[Category]
    events: Sequence[int]
    marks: Sequence[tuple[int, Segment]]
    finish: Sequence[int] = ()
    departures: Sequence[Departure] = ()
    work: Work = field(default_factory=Work, compare=False)
