"""The frame of a chart: its question, its picture, and the same figures as a table behind it.

The page's script finds charts by this frame and puts the buttons there that save them: as PNG, SVG and CSV.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from lora_explorer.report import words
from lora_explorer.report.html import Html, tag

# Rows from here on are sent as they are, and become a table when it is opened: few tables ever are.
_MOST_WRITTEN_ROWS = 40


def framed(name: str, asks: str, unit: str, *picture: object, table: Html) -> Html:
    """name: the stem of the files it is saved under. asks: the question it answers. unit: in which, in a few words."""
    caption = tag("figcaption", tag("h3", asks), tag("span", unit))
    return tag("figure", caption, *picture, _behind(name, table), class_="chart", data_name=name)


def framed_in_panel(name: str, asks: str, unit: str, *picture: object, table: Html) -> Html:
    """As `framed`, where the panel around it asks the question already: asks and unit are seen in files alone.

    So is whatever of the picture has the class `in-file`.
    """
    about = {"class_": "chart", "data_name": name, "aria_label": asks, "data_unit": unit}
    return tag("figure", *picture, _behind(name, table), **about)


def figures_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column names each row. columns: with their units.

    Whole numbers and fractions are written as everywhere on the page, None as not known.
    """
    head = tag("thead", tag("tr", *(tag("th", column, scope="col") for column in columns)))
    lines = [[_written(cell) for cell in row] for row in rows]
    if len(lines) > _MOST_WRITTEN_ROWS:
        return tag("table", head, tag("tbody", data_rows=json.dumps(lines, ensure_ascii=False)))
    return tag("table", head, tag("tbody", *map(_row, lines)))


def _behind(name: str, table: Html) -> Html:
    return tag("details", tag("summary", "Table", data_keep=name), table, class_="chart-table", data_keep=name)


def _row(row: Sequence[object]) -> Html:
    first, *rest = row
    return tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))


def _written(cell: object) -> object:
    if cell is None:
        return words.UNKNOWN
    return words.exact_number(cell) if isinstance(cell, (int, float)) else cell
