"""Numbers that a visitor types into a plain field: 52,000, 5e4, 0.79."""

from __future__ import annotations

import math
import re

from lora_explorer.errors import ExplorerError

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")


def typed_number(typed: str, name: str, called: str, most: float, *, whole: bool = True) -> float | None:
    """None for an empty field. name: of the field, called: in a sentence. Raises ExplorerError with that name."""
    text = typed.strip().replace(" ", "").replace("_", "")
    if not text:
        return None
    # A comma between groups of three digits divides thousands; any other may stand for a point.
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    kind = "a whole number" if whole else "a number"
    try:
        number = float(text)
    except ValueError:
        raise ExplorerError(f"{called}: {typed.strip()[:40]!r} is not {kind}.", setting=name) from None
    if not math.isfinite(number) or (whole and number != int(number)):
        raise ExplorerError(f"{called}: {typed.strip()[:40]!r} is not {kind}.", setting=name)
    if not (1 if whole else 0) <= number <= most or number == 0:
        least = "at least 1" if whole else "more than 0"
        raise ExplorerError(f"{called}: {typed.strip()[:40]} must be {least} and at most {most:,.0f}.", setting=name)
    return number
