"""Ranges as they are typed: `4..256 x2`, `1..16`, `1024..8192 +1024`, `true,false`, `1,2,4..64 x2`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import yaml

from lora_explorer.errors import SweepRefused

MOST_VALUES = 1000
_LONGEST_TEXT = 4000
_SMALLEST, _LARGEST = Decimal(10) ** -18, Decimal(10) ** 18
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:([x×*+])\s*({_NUMBER}))?\s*")
_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "'\""


def values_in(text: str, setting: str) -> tuple[Any, ...]:
    """Every value of a range, in order and once each.

    `a..b xF` multiplies by F, `a..b +S` adds S, `a..b` adds 1; anything else is a value as YAML writes it.
    Raises SweepRefused with one sentence; setting: whose range it is.
    """
    if len(text) > _LONGEST_TEXT:
        raise _refusal(setting, f"the range is longer than {_LONGEST_TEXT:,} characters.")
    found: list[Any] = []
    for item in _items(text):
        span = _RANGE.fullmatch(item)
        for value in _span(span, setting) if span else _written(item, setting):
            # A list that says 1 and true holds two values.
            if not any(value == other and type(value) is type(other) for other in found):
                found.append(value)
            if len(found) > MOST_VALUES:
                raise _refusal(setting, f"the range holds more than {MOST_VALUES:,} values.")
    if not found:
        raise _refusal(setting, "the range is empty; write it as 4..256 x2, 1..16 or 8,16,32.")
    return tuple(found)


def _items(text: str) -> Iterator[str]:
    """The text between commas that stand outside of brackets and quotes."""
    depth, quote, start = 0, "", 0
    for position, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign == "," and depth == 0:
            yield text[start:position]
            start = position + 1
        else:
            depth += (sign in _OPENING) - (sign in _CLOSING)
    yield text[start:]


def _span(span: re.Match[str], setting: str) -> Iterator[int | float]:
    first, last = _decimal(span[1], setting), _decimal(span[2], setting)
    by_factor = span[3] in ("x", "×", "*")
    step = _decimal(span[4] or "1", setting)
    if first > last:
        raise _refusal(setting, f"the range {span[0].strip()} is empty: {span[1]} is above {span[2]}.")
    if step <= (1 if by_factor else 0) or (by_factor and first <= 0):
        raise _refusal(setting, f"the range {span[0].strip()} does not go up.")
    whole = all(_is_whole(each) for each in (span[1], span[2]))
    # One more than may be, so that too many are seen to be too many.
    for value in islice(_steps(first, last, step, by_factor=by_factor), MOST_VALUES + 1):
        yield int(value.to_integral_value()) if whole and (by_factor or value == int(value)) else float(value)


def _steps(first: Decimal, last: Decimal, step: Decimal, *, by_factor: bool) -> Iterator[Decimal]:
    value = first
    while value <= last:
        yield value
        value = value * step if by_factor else value + step


def _is_whole(number: str) -> bool:
    return not set(number) & set(".eE")


def _decimal(text: str, setting: str) -> Decimal:
    complaint = f"{text[:40]} is no number that a range can hold."
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _refusal(setting, complaint) from error
    if number and not _SMALLEST < abs(number) < _LARGEST:
        raise _refusal(setting, complaint)
    return number


def _written(item: str, setting: str) -> tuple[Any, ...]:
    if not item.strip():
        return ()
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(item, Loader=yaml.SafeLoader)):
            raise _refusal(setting, "a range must not hold YAML aliases.")
        value = yaml.safe_load(item)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refusal(setting, f"{item.strip()[:60]!r} cannot be read as a value.") from error
    # YAML 1.1 takes 2e-4 for text, where a person means a number.
    return (float(value),) if isinstance(value, str) and re.fullmatch(_NUMBER, value) else (value,)


def _refusal(setting: str, complaint: str) -> SweepRefused:
    return SweepRefused(f"{setting}: {complaint}", setting=setting)
