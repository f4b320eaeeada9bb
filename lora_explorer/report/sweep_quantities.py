"""What a sweep is drawn by: peak memory, trainable parameters or speed, as numbers and as words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.report import words

if TYPE_CHECKING:
    from lora_explorer.exploration.prediction import Prediction


@dataclass(frozen=True)
class Quantity:
    """name: by which the page chooses it. unit: of the axis. amount: of a point, in that unit, None where not known.

    short: the amount where there is little room.
    """

    name: str
    title: str
    unit: str
    amount: Callable[[Prediction], float | None]
    short: Callable[[float], str]


def _memory(found: Prediction) -> float | None:
    return None if found.process_bytes is None else found.process_bytes / 1024**3


def _params(found: Prediction) -> float | None:
    return found.trainable_params


def _speed(found: Prediction) -> float | None:
    return found.pace.expected if found.pace else None


def _gib(amount: float) -> str:
    return f"{amount:,.1f}" if amount < 100 else f"{amount:,.0f}"


def _count(amount: float) -> str:
    return words.short_count(round(amount))


def _tokens(amount: float) -> str:
    """1,530: three digits that count."""
    size = 10 ** max(math.floor(math.log10(amount)) - 2, 0) if amount >= 1 else 1
    return f"{round(amount / size) * size:,}"


MEMORY = Quantity("memory", "Peak memory", "GiB", _memory, _gib)
QUANTITIES = (
    MEMORY,
    Quantity("parameters", "Trainable parameters", "parameters", _params, _count),
    Quantity("speed", "Tokens a second", "tokens/s, as expected", _speed, _tokens),
)
BY_NAME: Mapping[str, Quantity] = {quantity.name: quantity for quantity in QUANTITIES}


@dataclass(frozen=True)
class Scale:
    """Between the smallest and the largest amount that there are. Logarithmic where they are far apart."""

    low: float
    high: float
    logarithmic: bool = False

    def share(self, amount: float) -> float:
        """0 at the lower end, 1 at the upper one."""
        if self.high <= self.low:
            return 0.5
        if self.logarithmic:
            return math.log(max(amount, self.low) / self.low) / math.log(self.high / self.low)
        return (amount - self.low) / (self.high - self.low)
