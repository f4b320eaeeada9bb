"""Numbers as people read them. Bytes and counts stay whole numbers until here."""

from __future__ import annotations

import math

_BYTE_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_COUNT_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
UNKNOWN = "–"
"""In place of a figure that there is none of."""


def exact_count(count: int) -> str:
    """83,886,080."""
    return f"{count:,}"


def exact_number(value: float) -> str:
    """83,886,080, 0.25, or 2e-05: six digits of a fraction, every digit of what is whole."""
    return exact_count(int(value)) if math.isfinite(value) and value == int(value) else f"{value:,.6g}"


def short_count(count: int) -> str:
    """8.03 B: three digits that count, for where the exact number stands elsewhere."""
    for size, unit in _COUNT_UNITS:
        if count >= size:
            return f"{_three_digits(count / size)} {unit}"
    return str(count)


def file_size(size_bytes: int) -> str:
    """320 MiB: three digits that count, in the largest unit that leaves one before the point."""
    power = min((max(size_bytes, 1).bit_length() - 1) // 10, len(_BYTE_UNITS) - 1)
    return f"{_three_digits(size_bytes / 1024**power)} {_BYTE_UNITS[power]}"


def gib(size_bytes: int, digits: int = 1) -> str:
    """16.2, in GiB, without the unit."""
    return f"{size_bytes / 1024**3:,.{digits}f}"


def percent(value: float) -> str:
    """1.034 %: four digits that count, so that small shares stay readable."""
    if value == 0 or value >= 10:
        return f"{value:.2f} %"
    digits = min(3 - math.floor(math.log10(value)), 8)
    return f"{value:.{max(digits, 3)}f} %"


def scale(value: float) -> str:
    """0.5, or 2.828: four digits that count and no zeros behind them."""
    return f"{value:.4g}"


def short_number(value: float) -> str:
    """2.31, 4,920 or 2e-05: three digits that count, and large numbers whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def power(value: float) -> str:
    """2e-4, or 0: for numbers far below one."""
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}" if value else "0"


def duration(seconds: float) -> str:
    """8 s, 2 min 5 s, 1 h 10 min: the two largest units."""
    whole = max(round(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def counted(count: int, noun: str) -> str:
    """1 module, 224 modules."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def spans(numbers: tuple[int, ...]) -> str:
    """0–31, or 0–3, 8, 10–11: sorted whole numbers as runs."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def _three_digits(value: float) -> str:
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(2 - math.floor(math.log10(value)), 0)}f}"
