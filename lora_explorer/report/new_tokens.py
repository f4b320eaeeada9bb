"""New tokens: whether embedding and head must be trained, and what each way of it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_explorer.findings import Fix
from lora_explorer.report import words
from lora_explorer.report.html import Html, tag
from lora_explorer.report.mending import fix_in_words

if TYPE_CHECKING:
    from lora_explorer.adapters.new_tokens import NewTokensAdvice, Way
    from lora_explorer.memory.new_tokens import Weight

QUESTION = "Adding tokens?"
_HEADINGS = ("Parameters", "Adapter file", "Peak memory")
_WAITING = "…"
_UNKNOWN = "unknown"
_WORTH_SAYING_BYTES = 1 << 20

Weights = Sequence["Weight | None"]
"""Of the ways in their order; shorter while they are being traced."""


def title(advice: NewTokensAdvice | None) -> str:
    """One line that stays in sight while the rest is closed."""
    if advice is None or not advice.new_tokens.count:
        return QUESTION
    return f"{words.counted(advice.new_tokens.count, 'new token')}: training embedding and head is {advice.need}"


def lacks_the_pair(advice: NewTokensAdvice) -> bool:
    """Whether Axolotl would not start with the file as it is."""
    return advice.need == "needed" and bool(advice.missing)


def new_tokens_panel(advice: NewTokensAdvice, weights: Weights, typed: str, card: str) -> Html:
    """typed: what was typed in the page and is in no file, which a press brings back. card: the chosen one's name."""
    wrong = lacks_the_pair(advice)
    sign = tag("span", "!" if wrong else "✓" if advice.need == "needed" else "i", class_="mark", aria_hidden="true")
    said = tag("p", sign, advice.sentence, class_="sentence", data_kind="warning" if wrong else "note")
    headings = tag("tr", *(tag("th", heading, scope="col") for heading in _HEADINGS))
    waiting = (*weights, *(_WAITING for _ in advice.ways[len(weights) :]))
    bodies = [_way(way, weight, typed, card) for way, weight in zip(advice.ways, waiting, strict=True)]
    caption = tag("caption", "What each way adds", class_="sr-only")
    table = tag("table", caption, tag("thead", headings), *bodies, class_="ways") if bodies else None
    return tag("div", said, table, data_need=advice.need)


def fix_of_way(pressed: Any, advice: NewTokensAdvice) -> Fix:
    """The changes that a press on a way is for; empty where there are none."""
    title = pressed.get("way") if isinstance(pressed, Mapping) else None
    return next((way.fix for way in advice.ways if way.title == title), ())


def _way(way: Way, weight: Weight | str | None, typed: str, card: str) -> Html:
    name = tag("th", way.title, _choice(way, typed), colspan=len(_HEADINGS), scope="rowgroup")
    why = way.refused or way.caution
    caution = tag("tr", tag("td", why, colspan=len(_HEADINGS), class_="why")) if why else None
    figures = None if way.refused else tag("tr", *_figures(way, weight, card))
    return tag("tbody", tag("tr", name), figures, caution, class_="chosen" if way.is_chosen else None)


def _figures(way: Way, weight: Weight | str | None, card: str) -> tuple[Html, ...]:
    params, size = way.trainable_params or 0, way.adapter_file_bytes or 0
    return (
        tag("td", f"+{words.short_count(params)}", title=words.exact_count(params), data_value=params),
        tag("td", f"+{words.file_size(size)}", data_value=size),
        _peak(weight, card),
    )


def _peak(weight: Weight | str | None, card: str) -> Html:
    if weight is None or isinstance(weight, str):
        return tag("td", weight or _UNKNOWN)
    whole = f"{words.gib(weight.process_bytes)} GiB in all"
    said = f"+{words.file_size(weight.more_bytes)}" if weight.more_bytes >= _WORTH_SAYING_BYTES else "none"
    short = weight.fits_without and not weight.fits
    note = tag("span", f"not on {card}", class_="bad") if short else None
    return tag("td", said, note, title=whole, data_value=weight.more_bytes)


def _choice(way: Way, typed: str) -> Html | None:
    if way.is_chosen:
        return tag("span", "in the file", class_="way-chosen")
    if not way.fix:
        return None
    said = fix_in_words(way.fix)
    return tag(
        "button",
        "Use",
        type="button",
        class_="fix",
        title=f"Writes it into the file: {said}",
        aria_label=f"{way.title}: write {said}",
        data_keep=f"way {way.title}",
        data_mend=json.dumps({"way": way.title, "typed": typed}),
    )
