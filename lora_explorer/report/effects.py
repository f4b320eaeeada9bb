"""What a setting changes from here: a small table for a tooltip, with every figure beside its difference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.effects import Effect, Effects
    from lora_explorer.exploration.prediction import Prediction

Touches = Mapping[str, Any]
NO_NEIGHBOURS = "There is no value next to this one to compare with."
QUESTION = "What does it change, from here?"
_SAME, _WAITING = "same", "…"


def effects_table(
    effects: Effects, touches: Callable[[Effect], Touches] = lambda effect: effect.changes, *, waits: bool = False
) -> Html:
    """One row for the present value and one for each neighbour, which is a button that takes it.

    waits: memory that is not known yet is still to come. touches: as in the list of savings.
    """
    if not effects.others:
        return tag("p", NO_NEIGHBOURS, class_="quiet-line")
    heads = ("", "Trainable", "Adapter file", "Scale", "Peak memory")
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in heads)))
    here = tag("tr", tag("th", effects.here.label, scope="row"), *_figures(effects.here.prediction, waits=waits))
    rows = (_row(effect, effects.here.prediction, touches(effect), waits=waits) for effect in effects.others)
    return tag("table", head, tag("tbody", here, *rows), class_="effects")


def effects_panel(
    effects: Effects, touches: Callable[[Effect], Touches] = lambda effect: effect.changes, *, waits: bool = False
) -> Html:
    """The table under its question, and why memory is not known where it is not. As for `effects_table`."""
    problems = {} if waits else _memory_problems(effects)
    said = (tag("p", f"Memory, {label}: {problem}", class_="quiet-line") for label, problem in problems.items())
    title = tag("h3", QUESTION)
    return tag("div", title, effects_table(effects, touches, waits=waits), *said, class_="effects-panel")


def _memory_problems(effects: Effects) -> Mapping[str, str]:
    """By the label of the first value that has it. What cannot even be counted says so in its row."""
    counted = [each for each in (effects.here, *effects.others) if each.prediction.trainable_params is not None]
    by_problem = {each.prediction.problem: each.label for each in reversed(counted) if each.prediction.problem}
    return {label: problem for problem, label in reversed(by_problem.items())}


def _figures(found: Prediction, *, waits: bool) -> list[Html]:
    cells = (
        "–" if found.trainable_params is None else words.exact_count(found.trainable_params),
        "–" if found.adapter_file_bytes is None else words.file_size(found.adapter_file_bytes),
        "–" if found.scaling is None else words.scale(found.scaling),
        _memory(found, waits=waits),
    )
    return [tag("td", cell, class_="number") for cell in cells]


def _memory(found: Prediction, *, waits: bool) -> str:
    if found.process_bytes is not None:
        return f"{words.gib(found.process_bytes, 2)} GiB"
    return _WAITING if waits and not found.problem else "–"


def _row(effect: Effect, here: Prediction, touches: Touches, *, waits: bool) -> Html:
    found = effect.prediction
    button = tag(
        "button", effect.label, type="button", class_="effect", data_touches=json.dumps(touches), data_keep=effect.label
    )
    name = tag("th", button, scope="row")
    if found.trainable_params is None:
        return tag("tr", name, tag("td", found.problem, colspan=4), class_="refused")
    cells = (
        _count_change(found.trainable_params, here.trainable_params),
        _size_change(found.adapter_file_bytes, here.adapter_file_bytes),
        _scale_change(found.scaling, here.scaling),
        _size_change(found.process_bytes, here.process_bytes) or _memory(found, waits=waits),
    )
    return tag("tr", name, *(tag("td", cell, class_="number") for cell in cells), title=found.problem or None)


def _count_change(after: int | None, before: int | None) -> str | Html:
    if after is None or before is None:
        return "–"
    if after == before:
        return _SAME
    difference = f"({_signed(after - before)}{words.short_count(abs(after - before))})"
    return join(words.exact_count(after), " ", tag("span", difference, class_="effect-change"))


def _size_change(after: int | None, before: int | None) -> str:
    if after is None or before is None:
        return ""
    return _SAME if after == before else f"{_signed(after - before)}{words.file_size(abs(after - before))}"


def _scale_change(after: float | None, before: float | None) -> str:
    if after is None:
        return "–"
    return _SAME if after == before else words.scale(after)


def _signed(difference: int) -> str:
    return "+" if difference > 0 else "−"
