"""The command that lists the recipes that come along, and prints one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lora_explorer import exploration_questions
from lora_explorer.cli.output import AsJson, print_json, tell
from lora_explorer.errors import UnknownRecipe
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.recipe_files import RecipeFile, find_recipe_file, recipe_files
from lora_explorer.report import recipes_terminal
from lora_explorer.report.recipe_figures import figures_record, recipe_record
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.exploration.comparison import Figures


_WRONG_CALL = 2


def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this one; without it all are listed.")
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Say what each comes to, which takes a few seconds each.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes that come along, or print one as Axolotl YAML."""
    if name is None:
        _list([(file, _recipe_of(file)) for file in recipe_files()], figures=figures, as_json=as_json)
        return
    file = _found(name)
    if figures and not as_json:
        _list([(file, _recipe_of(file))], figures=True, as_json=False)
    elif as_json:
        print_json({**_record(file, _recipe_of(file), figures=figures), "yaml": file.text})
    else:
        sys.stdout.write(file.text)


def _found(name: str) -> RecipeFile:
    """A name that is none is a wrong call."""
    try:
        return find_recipe_file(name)
    except UnknownRecipe as error:
        tell(error.findings)
        raise typer.Exit(_WRONG_CALL) from error


def _list(recipes: list[tuple[RecipeFile, Recipe]], *, figures: bool, as_json: bool) -> None:
    if as_json:
        print_json([_record(*each, figures=figures) for each in recipes])
    elif figures:
        recipes_terminal.show_recipe_figures([(file, _figures_of(recipe)) for file, recipe in recipes])
    else:
        recipes_terminal.show_recipes([(file, recipe.base_model) for file, recipe in recipes])


def _record(file: RecipeFile, recipe: Recipe, *, figures: bool) -> dict[str, object]:
    known = figures_record(_figures_of(recipe)) if figures else {}
    return {**recipe_record(file, recipe.base_model), **known}


def _recipe_of(file: RecipeFile) -> Recipe:
    return import_axolotl(file.text).recipe


def _figures_of(recipe: Recipe) -> Figures:
    from lora_explorer.base_models import find_base_model

    return exploration_questions.recipe_figures(recipe, find_base_model(recipe.base_model))
