"""Configurations side by side, as rows of cells: what differs, what each comes to, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lora_explorer.exploration.comparison import Figures
from lora_explorer.report import speed_words, verdicts, words
from lora_explorer.report.setting_words import differing_settings, value_in_words
from lora_explorer.settings import SETTINGS, Recipe

WAITING, UNKNOWN = "…", "not known"


@dataclass(frozen=True)
class Column:
    """One configuration. recipe: None where it cannot be read; then the figures hold a sentence.

    is_on_screen: it follows what the page shows. sign: by which its charts know it.
    """

    name: str
    recipe: Recipe | None
    figures: Figures = field(default_factory=Figures)
    sign: str = ""
    is_on_screen: bool = False


@dataclass(frozen=True)
class Cell:
    """text: as people read it. value: the exact figure. kind: a class of the style sheet. is_best: of its row."""

    text: str
    value: float | None = None
    kind: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """label: of the setting or figure. key: as Axolotl calls the setting; empty for a figure. name: of its figure."""

    label: str
    key: str
    cells: tuple[Cell, ...]
    name: str = ""
    best: str = ""


def setting_rows(columns: Sequence[Column]) -> tuple[Row, ...]:
    """One for each setting that differs, in the order of the page."""
    names = differing_settings(_recipes(columns)) if _recipes(columns) else ()
    return tuple(
        Row(SETTINGS[name].label, SETTINGS[name].key, tuple(_setting_cell(column, name) for column in columns))
        for name in names
    )


def common_rows(columns: Sequence[Column]) -> tuple[Row, ...]:
    """One for each setting that all share, with the one value that it has."""
    recipes = _recipes(columns)
    if not recipes:
        return ()
    apart = set(differing_settings(recipes))
    return tuple(
        Row(setting.label, setting.key, (Cell(value_in_words(getattr(recipes[0], name))),))
        for name, setting in SETTINGS.items()
        if name not in apart
    )


def figure_rows(columns: Sequence[Column], *, on_card: bool) -> tuple[Row, ...]:
    """What each comes to. on_card: also its verdict and its speed there."""
    shown = [figure for figure in _FIGURES if on_card or not figure.needs_card]
    return tuple(_figure_row(figure, columns) for figure in shown)


def _recipes(columns: Sequence[Column]) -> list[Recipe]:
    return [column.recipe for column in columns if column.recipe is not None]


def _setting_cell(column: Column, name: str) -> Cell:
    return Cell(UNKNOWN if column.recipe is None else value_in_words(getattr(column.recipe, name)))


@dataclass(frozen=True)
class _Figure:
    """written: None where it is not known. best: which end is the better one, if one is.

    near: amounts that differ by no more than this share of the best are as good as it.
    """

    name: str
    label: str
    amount: Callable[[Figures], float | None]
    written: Callable[[Figures], str | None]
    best: Literal["lowest", "smallest", "fastest", ""] = ""
    kind: Callable[[Figures], str] = lambda figures: ""
    needs_card: bool = False
    near: float = 0.0


def _figure_row(figure: _Figure, columns: Sequence[Column]) -> Row:
    amounts = [figure.amount(column.figures) for column in columns]
    best = _best(figure, amounts)
    cells = (
        Cell(_written(figure, column.figures), amount, figure.kind(column.figures), is_best=at in best)
        for at, (column, amount) in enumerate(zip(columns, amounts, strict=True))
    )
    return Row(figure.label, "", tuple(cells), figure.name, figure.best)


def _best(figure: _Figure, amounts: Sequence[float | None]) -> set[int]:
    """Places of those that nothing is better than; of equals none stands out."""
    known = {at: amount for at, amount in enumerate(amounts) if amount is not None}
    if not figure.best or not known:
        return set()
    top = max(known.values()) if figure.best == "fastest" else min(known.values())
    found = {at for at, amount in known.items() if abs(amount - top) <= figure.near * top}
    return found if len(found) < len(known) else set()


def _written(figure: _Figure, figures: Figures) -> str:
    return figure.written(figures) or (UNKNOWN if figures.is_whole else WAITING)


def _scaling(figures: Figures) -> str | None:
    if figures.trainable_params is None:
        return None
    return "–" if figures.scaling is None else words.scale(figures.scaling)


def _memory(figures: Figures) -> str | None:
    if figures.process_bytes is not None:
        return f"{words.gib(figures.process_bytes)} GiB"
    return None if figures.at_least_bytes is None else f"≥ {words.gib(figures.at_least_bytes)} GiB"


def _verdict(figures: Figures) -> str | None:
    return f"{verdicts.mark(figures.fit)} {figures.fit.verdict}" if figures.fit else None


def _headroom(figures: Figures) -> str | None:
    return verdicts.headroom_in_words(figures.fit) if figures.fit else None


_FIGURES = (
    _Figure(
        "trainable-params",
        "Trainable parameters",
        lambda figures: figures.trainable_params,
        lambda figures: None if figures.trainable_params is None else words.exact_count(figures.trainable_params),
    ),
    _Figure(
        "trainable-percent",
        "Share of all",
        lambda figures: figures.trainable_percent,
        lambda figures: None if figures.trainable_percent is None else words.percent(figures.trainable_percent),
    ),
    _Figure(
        "adapter-file",
        "Adapter file",
        lambda figures: figures.adapter_file_bytes,
        lambda figures: None if figures.adapter_file_bytes is None else words.file_size(figures.adapter_file_bytes),
        best="smallest",
    ),
    _Figure(
        "scaling",
        "Scale",
        lambda figures: figures.scaling,
        _scaling,
    ),
    _Figure("peak-memory", "Peak memory", lambda figures: figures.process_bytes, _memory, best="lowest"),
    _Figure(
        "fits",
        "Verdict",
        lambda figures: None if figures.fit is None else int(figures.fit.fits),
        _verdict,
        kind=lambda figures: verdicts.kind(figures.fit) if figures.fit else "",
        needs_card=True,
    ),
    _Figure("headroom", "Room on the card", lambda figures: None, _headroom, needs_card=True),
    _Figure(
        "tokens-per-second",
        "Tokens a second",
        lambda figures: figures.pace.expected if figures.pace else None,
        lambda figures: speed_words.tokens_per_second(figures.pace.likely) if figures.pace else None,
        best="fastest",
        needs_card=True,
        near=0.02,
    ),
)
