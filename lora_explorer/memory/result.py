"""What an estimate says: plain, frozen, and adding up. Knows no tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lora_explorer.memory.watching.trace import Phase, Place

Part = Literal[
    "base weights",
    "quantization state",
    "adapter",
    "gradients",
    "optimizer state",
    "saved activations",
    "logits and loss",
    "temporaries",
    "workspaces",
    "allocator rounding",
]
"""What allocated bytes are for. adapter: with the trained copies of `lora_modules_to_save`."""

PARTS: tuple[Part, ...] = get_args(Part)
# What a trace tells apart, and an explanation does not.
_RENAMED: Mapping[str, Part] = {"saved copies": "adapter", "optimizer states": "optimizer state"}

FRAGMENTATION = "fragmentation"
CONTEXT = "CUDA context"

Recomputation = Literal["none", "under way", "made"]
Verdict = Literal["fits", "tight", "does not fit", "does not run"]


def in_parts(by_category: Iterable[tuple[str, int]]) -> tuple[tuple[Part, int], ...]:
    """Bytes by category of a trace as bytes by part, in order and without empty ones."""
    sizes: Counter[str] = Counter()
    for category, size in by_category:
        sizes[part_of_category(category)] += size
    return tuple((part, sizes[part]) for part in PARTS if sizes[part])


def part_of_category(category: str) -> str:
    """The part that a category of a trace belongs to."""
    return _RENAMED.get(category, category)


@dataclass(frozen=True)
class Stretch:
    """A part of the run. layer: its index among num_layers, None outside the repeated layers."""

    phase: Phase
    place: Place
    layer: int | None
    num_layers: int


@dataclass(frozen=True)
class Moment(Stretch):
    """A moment of the run.

    step: which step of the optimizer it belongs to, 0 for loading. recomputation: whether that of a checkpointed
    layer's activations is under way or made; "none" where nothing is made again.
    """

    step: int
    recomputation: Recomputation = "none"


@dataclass(frozen=True)
class CardFit:
    """What became of the run, as this card runs it, when it was replayed with this card's capacity.

    headroom_bytes: what the allocator could still take at its peak; none where the run goes through only because cached
    segments are given back when the card is full (gives_cache_back); negative where the card is too small, by what it
    lacks to the least capacity that the run goes through with. So of two cards of one kind the larger never has less.
    verdict: "tight" for those that give back, and where less is to spare than predictions have been too low by; "does
    not run" where kernels that the recipe asks for do not exist for the card: reason says which. failed_in: where in
    the run the card was full for good. process_bytes: at the peak, on this card, or without a limit where it is too
    small; None where the run does not run.
    """

    gpu: str
    capacity_bytes: int
    fits: bool
    headroom_bytes: int
    verdict: Verdict
    gives_cache_back: bool = False
    failed_in: Stretch | None = None
    process_bytes: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LargeStorage:
    """Storages of one size and part that are alive at the peak. made: where the first of them came from."""

    part: str
    size_bytes: int
    count: int
    made: Moment


@dataclass(frozen=True)
class CurvePoint:
    """The most bytes alive at once during one stretch, and what they were for. parts add up to live_bytes."""

    moment: Moment
    live_bytes: int
    parts: tuple[tuple[Part, int], ...]


@dataclass(frozen=True)
class MemoryEstimate:
    """What a run needs on one GPU.

    allocated: bytes in blocks, as torch.cuda.max_memory_allocated. reserved: bytes in segments. process: reserved and
    CUDA context. parts: what is there at the peak, adding up to peak_allocated_bytes. peak: when it comes. largest:
    the largest storages alive then, largest first. curve: live bytes while loading and over one step.
    """

    allocated_after_load_bytes: int
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_optimizer_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    process_bytes: int
    parts: tuple[tuple[Part, int], ...]
    peak: Moment
    assumptions: tuple[str, ...]
    fits: tuple[CardFit, ...]
    method: str
    largest: tuple[LargeStorage, ...] = ()
    curve: tuple[CurvePoint, ...] = ()

    @property
    def beyond_peak(self) -> Mapping[str, int]:
        """What the process holds besides the parts of the peak: with them it adds up to process_bytes.

        fragmentation: in segments, but in no block at the peak.
        """
        return {
            FRAGMENTATION: self.peak_reserved_bytes - self.peak_allocated_bytes,
            CONTEXT: self.process_bytes - self.peak_reserved_bytes,
        }

    def fit_on(self, gpu: str) -> CardFit | None:
        """The verdict for a card by its name; None where it was not asked for."""
        return next((fit for fit in self.fits if fit.gpu == gpu), None)

    def process_bytes_on(self, fit: CardFit | None) -> int:
        """What the process holds at its peak on a card: less than without a limit where cached memory is given back."""
        held = fit.process_bytes if fit is not None and fit.gives_cache_back else None
        return self.process_bytes if held is None else held

    def parts_on(self, fit: CardFit | None) -> tuple[tuple[str, int], ...]:
        """Everything that the process holds on a card, in order, the empty too; adds up to `process_bytes_on`."""
        beyond = dict(self.beyond_peak)
        given_back = self.process_bytes - self.process_bytes_on(fit)
        beyond[FRAGMENTATION] = max(beyond[FRAGMENTATION] - given_back, 0)
        at_peak = dict(self.parts)
        return (*((part, at_peak.get(part, 0)) for part in PARTS), *beyond.items())
