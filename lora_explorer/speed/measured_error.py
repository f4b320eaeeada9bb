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
        "A100 80GB SXM": 0.75,
        "L40": 1.07,
        "L40S": 0.77,
        "RTX 4090": 0.97,
        "H100 80GB SXM": 0.54,
        "RTX PRO 6000 Blackwell": 0.53,
    }
)
# How long the host takes to launch a kernel, where the card waits for it: Python, PyTorch and PEFT in eager mode.
HOST_SECONDS_PER_KERNEL = 14.6e-6


@dataclass(frozen=True)
class SpeedError:
    """How far estimates were off, each made without what it was held against.

    figures, cards: how many. mean_percent, worst_percent: of the time. shortest, longest: real time over estimated time
    at its extremes, which is the range that an estimate is shown with. held: how many figures lay in such a range where
    it was made without any of their model on their card, or of their card.
    """

    figures: int
    cards: int
    mean_percent: float
    worst_percent: float
    shortest: float
    longest: float
    held: int


# Of a card with public figures, for a model that none of them is of.
OF_KNOWN_CARDS = SpeedError(
    figures=47, cards=3, mean_percent=6.7, worst_percent=22.2, shortest=0.82, longest=1.22, held=45
)
# Of a card without any.
OF_OTHER_CARDS = SpeedError(
    figures=57, cards=6, mean_percent=11.4, worst_percent=47.4, shortest=0.68, longest=1.64, held=52
)
