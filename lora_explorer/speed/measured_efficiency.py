"""How fast a device really was: what runs of one's own tell about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MeasuredEfficiency:
    """The share of its data sheet that a card reached in previews.

    gpu: its name in presets/gpus.yml. efficiency: the middle of all steps. low, high: of nine steps in ten.
    steps, runs: how many were looked at.
    """

    gpu: str
    efficiency: float
    low: float
    high: float
    steps: int
    runs: int
