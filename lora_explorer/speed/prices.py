"""What an hour on a card costs: prices that clouds have shown, each with its source and date."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from lora_explorer import presets
from lora_explorer.errors import ExplorerError

HIGHEST_PRICE = 1000.0


@dataclass(frozen=True)
class Price:
    """US dollars for an hour of one GPU. source, date: who showed it, and when (year and month); typed: by the user."""

    usd_per_hour: float
    source: str
    date: str


def typed_price(usd_per_hour: float) -> Price:
    """A price that the user has typed. Raises ExplorerError for one that is none."""
    if not math.isfinite(usd_per_hour) or not 0 < usd_per_hour <= HIGHEST_PRICE:
        raise ExplorerError(
            f"A price per GPU-hour is more than 0 and at most {HIGHEST_PRICE:,.0f} US dollars, not {usd_per_hour:g}.",
            setting="price",
        )
    return Price(usd_per_hour, "typed", "")


def price_of(gpu: str) -> Price | None:
    """The price on file for a card of presets/gpus.yml, None where there is none."""
    return _prices().get(gpu)


@lru_cache(maxsize=1)
def _prices() -> dict[str, Price]:
    return {
        gpu: Price(float(price), offer["source"], str(offer["date"]))
        for offer in presets.facts("gpu_prices")
        for gpu, price in offer["usd_per_hour"].items()
    }
