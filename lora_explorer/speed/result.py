"""What is known of a run's speed and cost: plain frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lora_explorer.speed.prices import Price

LimitedBy = Literal["products", "memory", "host"]
# Where an efficiency is from: previews on the card, public figures of the card, or those of the cards most like it.
Origin = Literal["previews", "card", "others"]


class Range(NamedTuple):
    """A figure is somewhere between these two."""

    low: float
    high: float

    def times(self, factor: float) -> Range:
        """Both ends, multiplied."""
        return Range(self.low * factor, self.high * factor)

    def of(self, whole: float) -> Range:
        """A whole divided by both ends; the smaller end first, as the result is the other way round."""
        return Range(whole / self.high, whole / self.low)


@dataclass(frozen=True)
class SpeedEstimate:
    """One optimizer step on one card.

    flops_per_step: multiplications and additions of matrix products, convolutions and attention, recomputation
    included. bytes_moved_per_step: read from and written to the card's memory by all kernels. tokens_per_step:
    positions that go through the model, padding too. kernels_per_step: launches. step_seconds, tokens_per_second:
    from the shortest to the longest, from the slowest to the fastest. expected_step_seconds: the most likely, inside.
    limited_by: what most of the time goes into: products of matrices, moving bytes, or the host that launches kernels.
    stages, kinds: seconds of the expected step, by when they pass and by what they go into; each adds up to it.
    efficiency: the share of the card's data sheet that is counted on. origin, based_on: where it is from, in a word and
    in a sentence.
    """

    gpu: str
    flops_per_step: int
    bytes_moved_per_step: int
    tokens_per_step: int
    kernels_per_step: int
    step_seconds: Range
    tokens_per_second: Range
    expected_step_seconds: float
    limited_by: LimitedBy
    stages: Mapping[str, float]
    kinds: Mapping[str, float]
    efficiency: float
    origin: Origin
    based_on: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class RunEstimate:
    """A whole run on one card.

    steps: of the optimizer. steps_per_epoch: None where no rows are named. effective_batch_size: rows, or packed rows,
    that a step sees. trained_tokens: positions over the whole run. dollars: None without a price. capped: `max_steps`
    ends the run.
    """

    gpu: str
    steps: int
    steps_per_epoch: int | None
    effective_batch_size: int
    trained_tokens: int
    seconds: Range
    dollars: Range | None
    price: Price | None
    capped: bool
    speed: SpeedEstimate
    assumptions: tuple[str, ...]
