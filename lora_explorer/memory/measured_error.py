"""How far predictions were from measured runs: the one place that holds these figures.

They are what `python benchmarks/accuracy.py` prints for the published runs that it is held against, and move when it
prints others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MeasuredError:
    """Of one quantity, over runs: mean and worst distance, and the most that a prediction was too low.

    gpus: the cards that the runs were measured on, by their names in presets/gpus.yml.
    """

    gpus: tuple[str, ...]
    runs: int
    mean_percent: float
    worst_percent: float
    worst_under_percent: float


ALLOCATED = MeasuredError(
    gpus=("T4", "A100 80GB SXM"), runs=57, mean_percent=0.04, worst_percent=0.30, worst_under_percent=0.30
)
PROCESS = MeasuredError(gpus=("T4",), runs=49, mean_percent=0.67, worst_percent=3.66, worst_under_percent=2.72)


def spare_bytes_to_be_sure(process_bytes: int) -> int:
    """What a card must hold beyond a prediction to be sure of it, as far as measured runs tell."""
    return round(process_bytes * PROCESS.worst_under_percent / 100)
