"""The layer × module map as a control: a part of it is chosen, and settings are written that say what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.report import map_edit, notes
from lora_explorer.report.html import Html, join, tag
from lora_explorer.ui.answers import Answers, skeleton_of
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.layout import script_of
from lora_explorer.ui.savings_press import held_after

if TYPE_CHECKING:
    from lora_explorer.exploration.layer_map import MapEdit

NOTHING_CHOSEN = (
    "Nothing is chosen. Drag over the map, or use the arrow keys with Shift; a name switches its whole row."
)
KEEP_SCALE = "Alpha changes with the rank, so that B·A is scaled as before."
NO_NUMBER = "Type a whole number first."
UNREADABLE = "That part of the map could not be read; choose it again."
_MOST_ROWS, _MOST_LAYERS, _LARGEST = 1000, 10_000, 2**53


def build_map_edits() -> gr.HTML:
    """Its value is the edit that is asked for, and what came of it. Event: `edit`."""
    acts = (
        _button("on", "Train"),
        _button("off", "Do not train"),
        tag("span", _number("rank", "Rank"), _button("rank", "Set", "Set the rank"), _keep_scale(), class_="map-set"),
        tag("span", _number("alpha", "Alpha"), _button("alpha", "Set", "Set the alpha"), class_="map-set"),
    )
    panel = tag(
        "div",
        tag("p", NOTHING_CHOSEN, class_="map-chosen", aria_live="polite"),
        tag("fieldset", tag("legend", "Change what is chosen in the map"), *acts, disabled=True, class_="map-acts"),
        tag("div", class_="map-said", role="status"),
        class_="map-edit",
    )
    return gr.HTML(
        _value(None, Html("")),
        html_template=panel,
        elem_id="map-edits",
        apply_default_css=False,
        js_on_load=f"const NOTHING_CHOSEN = {NOTHING_CHOSEN!r};\n{script_of('map_edits.js')}",
    )


@dataclass(frozen=True)
class MapEditAnswers:
    answers: Answers

    def edit(self, sent: Any, asked: Any) -> Any:
        """Output: what was written, as a button that touches the settings, or why nothing was."""
        number = asked.get("asked") if isinstance(asked, Mapping) else None
        try:
            said = self._said(Draft.from_page(sent), asked)
        except ExplorerError as error:
            said = notes.complaint(str(error))
        return _value(number, said)

    def _said(self, draft: Draft, asked: Any) -> Html:
        """Raises ExplorerError where the draft itself cannot be counted."""
        # PEFT and torch are loaded by the first question, not by the page.
        from lora_explorer.exploration.layer_map import edit_map

        question = self.answers.read(draft)
        edit = read_edit(asked.get("edit") if isinstance(asked, Mapping) else None)
        if isinstance(edit, str):
            return notes.complaint(edit)
        wording = edit_map(edit, question.recipe, skeleton_of(question))
        said = map_edit.edit_in_words(wording)
        touches = held_after(question.recipe, wording.changes)
        return join(said, map_edit.press(touches)) if touches else said


def read_edit(sent: Any) -> MapEdit | str:
    """The edit that a page sent, or what is wrong with it."""
    from lora_explorer.exploration.layer_map import SetAlpha, SetRank, SwitchOff, SwitchOn

    given = sent if isinstance(sent, Mapping) else {}
    names, layers = _names(given.get("names")), _layers(given.get("first"), given.get("last"))
    if not names or layers is None:
        return UNREADABLE
    switches: Mapping[Any, Callable[..., MapEdit]] = {"on": SwitchOn, "off": SwitchOff}
    act = given.get("act")
    if act in switches:
        return switches[act](names, layers)
    value = _whole(given.get("value"))
    if value is None:
        return NO_NUMBER
    if act == "alpha":
        return SetAlpha(names, layers, alpha=value)
    return SetRank(names, layers, rank=value, keep_scale=given.get("keep_scale") is True)


def _names(sent: Any) -> tuple[str, ...]:
    listed = sent[:_MOST_ROWS] if isinstance(sent, list) else []
    return tuple(name for name in listed if isinstance(name, str) and name)


def _layers(first: Any, last: Any) -> tuple[int, ...] | None:
    """None for what is no range."""
    start, end = _whole(first), _whole(last)
    if start is None or end is None or not 0 <= start <= end < _MOST_LAYERS:
        return None
    return tuple(range(start, end + 1))


def _whole(sent: Any) -> int | None:
    is_number = isinstance(sent, (int, float)) and not isinstance(sent, bool)
    return int(sent) if is_number and abs(sent) < _LARGEST and sent == int(sent) else None


def _value(answered: Any, said: Html) -> dict[str, Any]:
    return {"edit": None, "asked": answered, "answered": answered, "said": said}


def _button(act: str, text: str, label: str | None = None) -> Html:
    return tag("button", text, type="button", data_act=act, aria_label=label, class_="map-act")


def _keep_scale() -> Html:
    tick = tag("input", type="checkbox", id="map-keep-scale")
    return tag("label", tick, "Keep the scale", class_="map-keep", title=KEEP_SCALE)


def _number(act: str, label: str) -> Html:
    return tag("label", label, tag("input", type="number", min=1, step=1, inputmode="numeric", data_for=act))
