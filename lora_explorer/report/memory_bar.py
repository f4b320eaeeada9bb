"""Where the memory goes at the peak: one stacked bar against what the card can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lora_explorer.report import verdicts, words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.memory import Card, CardFit, MemoryEstimate

ASKS = "Where does the memory go at the peak?"
_COLUMNS = ("Part", "Memory, GiB", "Memory, bytes", "Share of the card's usable memory, %")
_SHOWN_CARDS = 8
_ROOM_FOR_LABEL_PERCENT = 45


def memory_bar(estimate: MemoryEstimate, card: Card) -> Html:
    """The parts of the peak in order, each as wide as its share, and the card's usable line."""
    room = verdicts.fit_of(estimate, card)
    # A part that is empty now stays in its place, so that nothing moves while a slider does.
    parts = dict(estimate.parts_on(room))
    full_bytes = max(room.capacity_bytes, sum(parts.values()))
    pieces = (_piece(name, size, full_bytes) for name, size in parts.items() if size)
    line = tag("span", class_="memory-line", style=f"left:{100 * room.capacity_bytes / full_bytes:.2f}%")
    bar = tag("div", *pieces, line, class_="memory-bar", role="img", aria_label=_described(parts))
    axis = _axis(full_bytes, room.capacity_bytes)
    legend = tag("ul", *(_entry(*part) for part in parts.items()), class_="memory-legend")
    table = figures_table(_COLUMNS, _rows(parts, room))
    drawn = framed_in_panel("memory-at-the-peak", ASKS, "GiB", bar, axis, legend, table=table)
    return join(drawn, verdicts.verdict_line(room), _small_print(estimate, card))


def _rows(parts: Mapping[str, int], room: CardFit) -> Iterator[tuple[str, str, int, float]]:
    sums = {"all of the process": sum(parts.values()), f"usable on {room.gpu}": room.capacity_bytes}
    for name, size in {**parts, **sums}.items():
        yield name[:1].upper() + name[1:], words.gib(size, 3), size, 100 * size / room.capacity_bytes


def card_chips(estimate: MemoryEstimate) -> Html:
    """The smallest cards that hold the run and the largest that do not; all others are one click away."""
    by_size = sorted(estimate.fits, key=lambda fit: fit.capacity_bytes)
    fitting, small = [fit for fit in by_size if fit.fits], [fit for fit in by_size if not fit.fits][::-1]
    near = (*fitting[:_SHOWN_CARDS], *small[:_SHOWN_CARDS])
    far = (*fitting[_SHOWN_CARDS:], *small[_SHOWN_CARDS:])
    rest = (
        tag(
            "details",
            tag("summary", f"{len(far)} more cards", data_keep="cards"),
            _chips(far),
            class_="more-cards",
            data_keep="cards",
        )
        if far
        else None
    )
    return join(_chips(near), rest)


def _chips(fits: Iterable[CardFit]) -> Html:
    return tag("ul", *(_chip(fit) for fit in fits), class_="chips")


def _piece(name: str, size: int, full_bytes: int) -> Html:
    title = f"{name}: {words.gib(size, 2)} GiB"
    return tag("span", class_=f"piece {class_of(name)}", style=f"width:{100 * size / full_bytes:.3f}%", title=title)


def _entry(name: str, size: int) -> Html:
    swatch = tag("i", class_=f"swatch {class_of(name)}", aria_hidden="true")
    return tag(
        "li",
        swatch,
        tag("span", name[:1].upper() + name[1:]),
        tag("b", words.gib(size, 2)),
        class_=None if size else "empty",
    )


def class_of(name: str) -> str:
    """The style sheet gives each part its colour; one it does not know is grey."""
    return f"part part-{re.sub('[^a-z]+', '-', name.lower())}"


def _axis(full_bytes: int, capacity_bytes: int) -> Html:
    """What the line means, written on the side of it where there is room."""
    place = 100 * capacity_bytes / full_bytes
    label = tag("span", f"{words.gib(capacity_bytes)} GiB usable", class_="memory-usable", style=f"left:{place:.2f}%")
    if place < _ROOM_FOR_LABEL_PERCENT:
        return tag("div", label, class_="memory-axis line-left")
    return tag("div", tag("span", "0"), label, class_="memory-axis")


def _described(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {words.gib(size, 2)} GiB" for name, size in parts.items() if size)


def _small_print(estimate: MemoryEstimate, card: Card) -> Html:
    """How good the figure is, and what it rests on."""
    sentences = (tag("li", sentence) for sentence in (estimate.method, *estimate.assumptions) if sentence)
    return join(
        tag("p", verdicts.accuracy_sentence(card.name), class_="quiet-line", id="memory-accuracy"),
        _assumed(sentences),
    )


def _assumed(sentences: Iterable[Html]) -> Html:
    title = tag("summary", "What this assumes", data_keep="assumptions")
    return tag("details", title, tag("ul", *sentences), class_="assumptions", data_keep="assumptions")


def _chip(fit: CardFit) -> Html:
    text = f"{fit.gpu}{_in_short(fit)}"
    mark = tag("span", verdicts.mark(fit), aria_hidden="true", class_="mark")
    return tag("li", mark, text, class_=f"chip {verdicts.kind(fit)}", title=verdicts.sentence_of(fit))


def _in_short(fit: CardFit) -> str:
    if fit.verdict in ("tight", "does not run"):
        return f" · {fit.verdict}"
    return "" if fit.fits else f" · −{words.gib(-fit.headroom_bytes)}"
