"""What a visitor asks a sweep for: read like any stranger's input, and written as the form that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.errors import ExplorerError
from lora_explorer.exploration.axes import BITS, TARGETS
from lora_explorer.exploration.ready_sweeps import READY, explorable_settings, proposed_range
from lora_explorer.memory import Card, cards, find_card
from lora_explorer.report.html import Html, tag
from lora_explorer.settings import Recipe, Setting

MOST_CARDS = 8
"""That a sweep is held against at once, with the one that is chosen on the page."""

FIRST = "lora_r"
"""The setting that stands in the form at first."""

_COMMON_CARDS = ("RTX 3060 12GB", "RTX 4090", "L40S", "A100 80GB SXM")
_LONGEST_NAME, _LONGEST_RANGE = 100, 4000
_AXES = ("first", "second")
_NO_SECOND = "none: a single curve"
_LABELS = ("Setting", "Second setting")
_COMPOUND = ((TARGETS, "Targets: sets of modules"), (BITS, "Base weights: 4, 8 or 16 bits"))
_HINT = "4..256 x2 doubles, 1..16 counts, 512..4096 +512 adds; 8,16,32 are just these."


@dataclass(frozen=True)
class SweepWish:
    """asked: the question's number. axes: names with their ranges as they are typed. cards: beside the chosen one.

    ready: the name of a ready sweep, which takes the place of the axes. about: the field a range is proposed for.
    stopped: the number of the one that is not waited for any more.
    """

    asked: int = 0
    stopped: int = 0
    axes: tuple[tuple[str, str], ...] = ()
    cards: tuple[str, ...] = ()
    ready: str = ""
    about: int = 0

    @classmethod
    def from_page(cls, value: Any) -> SweepWish:
        """What is not as it should be is left out."""
        given = value if isinstance(value, Mapping) else {}
        axes, named = given.get("axes"), given.get("cards")
        read = [_axis(axis) for axis in axes[: len(_AXES)]] if isinstance(axes, list) else []
        listed = [name for name in named if _is_text(name, _LONGEST_NAME)] if isinstance(named, list) else []
        return cls(
            asked=given["asked"] if _is_number(given.get("asked")) else 0,
            stopped=given["stopped"] if _is_number(given.get("stopped")) else 0,
            axes=tuple(read),
            cards=tuple(listed[:MOST_CARDS]),
            ready=given["ready"] if _is_text(given.get("ready"), _LONGEST_NAME) else "",
            about=given["about"] if given.get("about") in range(len(_AXES)) else 0,
        )

    def axes_for(self, recipe: Recipe) -> tuple[tuple[str, str], ...]:
        """Names and ranges: those of the ready sweep, those that were typed, with the empty ones left out."""
        ready = next((each for each in READY if each.name == self.ready), None)
        if ready:
            return tuple((name, proposed_range(name, recipe)) for name in ready.axes)
        return tuple((name, typed) for name, typed in self.axes if name)

    def held_against(self, chosen: Card) -> tuple[Card, ...]:
        """The chosen card and those beside it, each once; names that no card has are left out."""
        found: dict[str, Card] = {chosen.name: chosen}
        for name in self.cards:
            try:
                card = find_card(name)
            except ExplorerError:
                continue
            found.setdefault(card.name, card)
        return tuple(found.values())[:MOST_CARDS]


def sweep_form() -> Html:
    """The fields, what they hold at first, and a place beside each for what is wrong with it."""
    ready = (
        tag("button", tag("b", each.title), tag("span", each.question), type="button", data_ready=each.name)
        for each in READY
    )
    fields = (_axis_fields(number) for number in range(len(_AXES)))
    run = tag("button", "Run", type="submit", class_="sweep-run")
    stop = tag("button", "Stop", type="button", class_="sweep-stop", disabled=True)
    return tag(
        "form",
        tag("div", *ready, class_="ready-sweeps", role="group", aria_label="Ready sweeps"),
        tag("div", *fields, class_="sweep-axes"),
        _cards_field(),
        tag("div", run, stop, tag("span", class_="sweep-fault", data_fault=""), class_="sweep-buttons"),
        class_="sweep-form",
        novalidate=True,
    )


def _axis_fields(number: int) -> Html:
    name, label = _AXES[number], _LABELS[number]
    empty = [] if number == 0 else [tag("option", _NO_SECOND, value="")]
    select = tag("select", *empty, *_options(FIRST if number == 0 else ""), id=f"sweep-{name}", data_axis=number)
    typed = tag(
        "input",
        type="text",
        id=f"sweep-{name}-range",
        data_range=number,
        maxlength=_LONGEST_RANGE,
        autocomplete="off",
        spellcheck="false",
        aria_describedby=f"sweep-{name}-fault sweep-hint",
    )
    hint = tag("p", _HINT, class_="setting-help", id="sweep-hint") if number == 0 else None
    return tag(
        "div",
        tag("label", tag("span", label), select),
        tag("label", tag("span", "Range"), typed),
        tag("p", class_="sentence", data_kind="error", data_fault=number, id=f"sweep-{name}-fault", role="status"),
        hint,
        class_="sweep-axis",
    )


def _options(chosen: str) -> Iterable[Html]:
    yield tag("optgroup", *(tag("option", label, value=name) for name, label in _COMPOUND), label="Several at once")
    for group, settings in explorable_settings():
        yield tag("optgroup", *(_option(setting, chosen) for setting in settings), label=group.value)


def _option(setting: Setting, chosen: str) -> Html:
    return tag("option", f"{setting.label} ({setting.key})", value=setting.key, selected=setting.key == chosen)


def _cards_field() -> Html:
    boxes = (
        tag(
            "label",
            tag("input", type="checkbox", value=card.name, data_card=True, checked=card.name in _COMMON_CARDS),
            tag("span", card.name),
        )
        for card in sorted(cards(), key=lambda card: card.memory_bytes)
    )
    summary = tag("summary", "Held against ", tag("b", class_="sweep-held"))
    most = tag("p", f"The chosen card and up to {MOST_CARDS - 1} more.", class_="quiet-line")
    return tag("details", summary, most, tag("div", *boxes, class_="sweep-cards"), class_="sweep-held-against")


def _axis(value: Any) -> tuple[str, str]:
    given = value if isinstance(value, list) and len(value) == len(_AXES) else ["", ""]
    name, typed = (part if isinstance(part, str) else "" for part in given)
    # One sign more than may be, so that what is too long is told to be.
    return name[:_LONGEST_NAME].strip(), typed[: _LONGEST_RANGE + 1]


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
