"""The headline numbers: what is trained, and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.memory import Card, MemoryEstimate

_WAITING = "…"


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


def memory_tiles(estimate: MemoryEstimate | None, card: Card, unknown: str = "") -> Html:
    """Peak memory, and whether the card holds it. unknown: why there is no estimate, in a sentence."""
    if estimate is None:
        peak = _value("peak-memory", "unknown" if unknown else _WAITING)
        fits = _value("fits", "unknown" if unknown else _WAITING)
        return join(_tile("Peak memory", peak, unknown), _tile(card.name, fits, ""))
    peak_bytes = estimate.process_bytes
    peak = join(_value("peak-memory", words.gib(peak_bytes), peak_bytes), tag("span", " GiB", class_="unit"))
    return join(_tile("Peak memory", peak, f"in the {estimate.peak_phase} pass"), _fits_tile(estimate, card))


def _fits_tile(estimate: MemoryEstimate, card: Card) -> Html:
    room = next(fit for fit in estimate.fits if fit.gpu == card.name)
    kind = "good" if room.fits else "bad"
    verdict = tag("span", "fits" if room.fits else "too small", id="fits", data_value=int(room.fits), class_=kind)
    spare = words.gib(abs(room.headroom_bytes))
    return _tile(card.name, verdict, f"{spare} GiB to spare" if room.fits else f"{spare} GiB short")


def _tile(title: str, number: object, below: object) -> Html:
    return tag(
        "div",
        tag("div", title, class_="tile-title"),
        tag("div", number, class_="tile-number"),
        tag("div", below, class_="tile-below"),
        class_="tile",
    )


def _value(element_id: str, text: str, value: float | None = None) -> Html:
    return tag("span", text, id=element_id, data_value=value)
