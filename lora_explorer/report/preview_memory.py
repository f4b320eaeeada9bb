"""Did memory come out as predicted? The peak of one step measured, beside the same step predicted, by part."""

from __future__ import annotations

from collections.abc import Iterable

from lora_explorer.memory.result import PARTS
from lora_explorer.preview.events import Measured
from lora_explorer.report import words
from lora_explorer.report.html import Html, tag
from lora_explorer.report.memory_bar import class_of
from lora_explorer.report.preview_story import RunStory

_PEAK = "peak_allocated_bytes"
_HEADINGS = ("", "predicted", "measured", "difference")
_NOT_YET = "The second step is measured; at the end its tracked bytes stand here beside the prediction."
_NOT_HELD = "The run is over; its memory could not be held against a prediction. What it said tells why."
_ENDED_BEFORE = "The run ended before its memory was held against the prediction."
# Below this share of the peak a part's difference explains nothing.
_WORTH_EXPLAINING = 0.001


def memory_outcome(story: RunStory) -> Html:
    """A table of the peaks and one of the parts at the peak, or why there is none."""
    measured = story.measured
    if measured is None:
        return tag("p", _why_none(story), class_="quiet-line")
    return tag(
        "div",
        tag("p", explanation(measured), class_="memory-outcome"),
        _table(_peak_rows(measured), ""),
        _table(_part_rows(measured), "At the peak, by part"),
        id="preview-memory",
        data_predicted=measured.predicted.get(_PEAK),
        data_measured=measured.measured.get(_PEAK),
    )


def _why_none(story: RunStory) -> str:
    if not story.is_over:
        return _NOT_YET
    return _NOT_HELD if story.status == "finished" else _ENDED_BEFORE


def explanation(measured: Measured) -> str:
    """How far the prediction was off, and which part makes up most of the difference."""
    predicted, found = measured.predicted.get(_PEAK), measured.measured.get(_PEAK)
    if not predicted or not found:
        return "No peak was measured."
    both = f"Measured {words.file_size(found)}, predicted {words.file_size(predicted)}"
    off = f"{both}: {_signed_percent(predicted, found)}."
    name, part_bytes = max(_differences(measured), key=lambda entry: abs(entry[1]), default=("", 0))
    if abs(part_bytes) < _WORTH_EXPLAINING * found:
        return off
    return f"{off} Most of it is in {name}: {_signed_size(part_bytes)}."


def _differences(measured: Measured) -> Iterable[tuple[str, int]]:
    for name in _part_names(measured):
        yield name, measured.measured_parts.get(name, 0) - measured.predicted_parts.get(name, 0)


def _part_names(measured: Measured) -> list[str]:
    """In the order of every other table of parts; those of no known name come last."""
    found = {**measured.predicted_parts, **measured.measured_parts}
    return [*(name for name in PARTS if name in found), *(name for name in found if name not in PARTS)]


def _peak_rows(measured: Measured) -> Iterable[Html]:
    for key, predicted in measured.predicted.items():
        if key in measured.measured:
            name = key.removesuffix("_bytes").replace("_", " ").capitalize()
            yield _row(tag("span", name), predicted, measured.measured[key])


def _part_rows(measured: Measured) -> Iterable[Html]:
    for name in _part_names(measured):
        predicted, found = measured.predicted_parts.get(name, 0), measured.measured_parts.get(name, 0)
        if predicted or found:
            swatch = tag("i", class_=f"swatch {class_of(name)}", aria_hidden="true")
            yield _row(tag("span", swatch, name.capitalize(), class_="part-name"), predicted, found)


def _row(name: Html, predicted: int, found: int) -> Html:
    difference = f"{_signed_size(found - predicted)} · {_signed_percent(predicted, found)}"
    cells = (words.file_size(predicted), words.file_size(found), difference if found != predicted else "none")
    return tag("tr", tag("td", name), *(tag("td", cell, class_="number") for cell in cells))


def _table(rows: Iterable[Html], caption: str) -> Html:
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in _HEADINGS)))
    title = tag("caption", caption) if caption else None
    return tag("table", title, head, tag("tbody", *rows), class_="outcome")


def _signed_size(size_bytes: int) -> str:
    return f"{'−' if size_bytes < 0 else '+'}{words.file_size(abs(size_bytes))}"


def _signed_percent(predicted: int, found: int) -> str:
    if not predicted:
        return "not predicted"
    percent = 100 * (found - predicted) / predicted
    return f"{'−' if percent < 0 else '+'}{abs(percent):.2f} %"
