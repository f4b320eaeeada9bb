"""The frame of a chart: its question, its picture, and the same figures as a table behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lora_explorer.report.html import Html, tag


def framed(name: str, asks: str, unit: str, *picture: object, table: Html) -> Html:
    """name: the stem of the files it is saved under. asks: the question it answers. unit: in which, in a few words."""
    caption = tag("figcaption", tag("h3", asks), tag("span", unit))
    return tag("figure", caption, *picture, _behind(name, table), class_="chart", data_name=name)


def figures_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column names each row."""
    head = tag("thead", tag("tr", *(tag("th", column, scope="col") for column in columns)))
    body = tag("tbody", *(_row(row) for row in rows))
    return tag("table", head, body)


def _behind(name: str, table: Html) -> Html:
    return tag("details", tag("summary", "Table"), table, class_="chart-table", data_keep=name)


def _row(row: Sequence[object]) -> Html:
    first, *rest = row
    return tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
