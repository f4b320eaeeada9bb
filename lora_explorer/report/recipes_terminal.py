"""The recipes that come along, in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lora_explorer.recipe_files import RecipeFile
from lora_explorer.report import terminal
from lora_explorer.report.recipe_figures import figures_in_words
from lora_explorer.report.setting_words import model_in_words

if TYPE_CHECKING:
    from lora_explorer.exploration.comparison import Figures

_HOW = "lora-explorer presets NAME prints one."


def show_recipes(recipes: Sequence[tuple[RecipeFile, str | None]]) -> None:
    """What each is for. recipes: with their base models."""
    rows = [
        (file.name, f"{file.title} · {model_in_words(base_model or '')}\n{file.purpose}")
        for file, base_model in recipes
    ]
    terminal.show_table("", ("Name", "What it is for"), rows)
    terminal.show(_HOW)


def show_recipe_figures(recipes: Iterable[tuple[RecipeFile, Figures]]) -> None:
    """What each comes to, and why something is not known."""
    written = [(file.name, figures_in_words(figures), figures.problem) for file, figures in recipes]
    rows = [
        (name, *(" · ".join(part for part in (figure.said, figure.below) if part) for figure in figures))
        for name, figures, _ in written
    ]
    terminal.show_table("", ("Name", *(figure.label for figure in figures_in_words(None))), rows)
    for name, _, problem in written:
        if problem:
            terminal.show(f"{name}: {problem}")
