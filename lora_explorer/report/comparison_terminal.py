"""Configurations side by side in a terminal: the rows of the page, one column each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import terminal, words
from lora_explorer.report.comparison import Cell, Column, Row, common_rows, figure_rows, setting_rows

if TYPE_CHECKING:
    from lora_explorer.memory import Card

_ALIKE = "No setting differs."
_BEST = "* the best of its line"


def show_comparison(columns: Sequence[Column], card: Card | None) -> None:
    """The settings that differ, what each comes to, and why something is not known."""
    names = [column.name for column in columns]
    settings = list(_lines(setting_rows(columns)))
    if settings:
        terminal.show_table("What differs", ("Setting", *names), settings)
    else:
        terminal.show(_ALIKE)
    title = f"What each comes to, on {card.name}" if card else "What each comes to"
    figures = figure_rows(columns, on_card=card is not None)
    terminal.show_table(title, ("", *names), _lines(figures))
    if any(cell.is_best for row in figures for cell in row.cells):
        terminal.show(_BEST)
    for column in columns:
        if column.figures.problem:
            terminal.show(f"{column.name}: {column.figures.problem}")
    if len(columns) > 1:
        terminal.show(f"{words.counted(len(common_rows(columns)), 'setting')} they have in common.")


def _lines(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    return ((row.key or row.label, *(_said(cell) for cell in row.cells)) for row in rows)


def _said(cell: Cell) -> str:
    return f"{cell.text} *" if cell.is_best else cell.text
