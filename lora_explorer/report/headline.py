"""The headline numbers: what is trained, and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.report import moments, verdicts, words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.memory import Card, MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound

_WAITING = "…"
_NOT_TRACED = "it could not be traced"


def count_tiles(plan: AdapterPlan | None) -> Html:
    """What is trained and what is saved. None: nothing is known yet."""
    if plan is None:
        share = join(_value("trainable-percent", _WAITING), " of ", _value("all-params", _WAITING))
        trainable = _value("trainable-params", _WAITING)
        return join(_tile("Trainable parameters", trainable, share), _tile("Adapter file", _WAITING, "safetensors"))
    share = join(
        _value("trainable-percent", words.percent(plan.trainable_percent), plan.trainable_percent),
        " of ",
        _value("all-params", words.exact_count(plan.all_params), plan.all_params),
    )
    trainable = _value("trainable-params", words.exact_count(plan.trainable_params), plan.trainable_params)
    size = _value("adapter-file", words.file_size(plan.adapter_file_bytes), plan.adapter_file_bytes)
    return join(_tile("Trainable parameters", trainable, share), _tile("Adapter file", size, "safetensors, on disk"))


def memory_tiles(
    estimate: MemoryEstimate | None, card: Card, unknown: str = "", bound: LowerBound | None = None
) -> Html:
    """Peak memory, and whether the card holds it. unknown: why there is no estimate; bound: what is known then."""
    if estimate is None:
        return join(*_tiles_without(card, unknown, bound))
    peak_bytes = verdicts.process_bytes(estimate, verdicts.fit_of(estimate, card))
    peak = join(_value("peak-memory", words.gib(peak_bytes), peak_bytes), tag("span", " GiB", class_="unit"))
    return join(_tile("Peak memory", peak, moments.stretch_in_short(estimate.peak)), _fits_tile(estimate, card))


def _tiles_without(card: Card, unknown: str, bound: LowerBound | None) -> tuple[Html, Html]:
    word = "unknown" if unknown else _WAITING
    if bound is None:
        why = _NOT_TRACED if unknown else ""
        return _tile("Peak memory", _value("peak-memory", word), why), _tile(card.name, _value("fits", word), "")
    least = join(_value("peak-memory", f"≥ {words.gib(bound.at_least_bytes)}"), tag("span", " GiB", class_="unit"))
    too_small = bound.rules_out(card)
    verdict = tag("span", "does not fit", id="fits", data_value=0, class_="bad") if too_small else _value("fits", word)
    return (
        _tile("Peak memory, at least", least, "a lower bound, not an estimate"),
        _tile(card.name, verdict, "the bound alone is too much" if too_small else "it may or may not fit"),
    )


def _fits_tile(estimate: MemoryEstimate, card: Card) -> Html:
    room = verdicts.fit_of(estimate, card)
    verdict = tag(
        "span",
        room.verdict,
        id="fits",
        data_value=int(room.fits),
        data_verdict=room.verdict,
        class_=verdicts.kind(room),
    )
    return _tile(card.name, verdict, verdicts.headroom_in_words(room))


def _tile(title: str, number: object, below: object) -> Html:
    return tag(
        "div",
        tag("div", title, class_="tile-title"),
        tag("div", number, class_="tile-number"),
        tag("div", below, class_="tile-below", title=None if isinstance(below, Html) else below),
        class_="tile",
    )


def _value(element_id: str, text: str, value: float | None = None) -> Html:
    return tag("span", text, id=element_id, data_value=value)
