"""What public figures say of real cards, and how far estimates were from them: the one place that holds these numbers.

They are what `python benchmarks/throughput.py` prints for presets/throughput.yml, and move when it prints others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# The share of its data sheet that a card reached in a training step, kernel after kernel, over its public figures.
EFFICIENCIES: Mapping[str, float] = MappingProxyType(
    {
        "A100 80GB SXM": 0.74,
        "L40": 1.04,
        "L40S": 0.77,
        "RTX 4090": 0.96,
        "H100 80GB SXM": 0.53,
        "RTX PRO 6000 Blackwell": 0.52,
    }
)
# How long the host takes to launch a kernel, where the card waits for it: Python, PyTorch and PEFT in eager mode.
HOST_SECONDS_PER_KERNEL = 14.6e-6


@dataclass(frozen=True)
class SpeedError:
    """How far estimates were off, each made without what it was held against.

    figures, cards: how many. mean_percent, worst_percent: of the time. shortest, longest: real time over estimated time
    at its extremes, which is the range that an estimate is shown with.
    """

    figures: int
    cards: int
    mean_percent: float
    worst_percent: float
    shortest: float
    longest: float


# Of a card with public figures, for a model that none of them is of.
OF_KNOWN_CARDS = SpeedError(figures=47, cards=3, mean_percent=6.6, worst_percent=22.2, shortest=0.82, longest=1.22)
# Of a card without any.
OF_OTHER_CARDS = SpeedError(figures=57, cards=6, mean_percent=11.6, worst_percent=48.8, shortest=0.67, longest=1.64)
