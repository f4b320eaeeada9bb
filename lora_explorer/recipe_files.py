"""The recipes that come along: one Axolotl YAML each, whose first comment says what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lora_explorer import presets
from lora_explorer.errors import UnknownRecipe


@dataclass(frozen=True)
class RecipeFile:
    """name: of the file, without its ending. title, purpose: the first line of its comment, and the rest of it."""

    name: str
    title: str
    purpose: str
    text: str


@lru_cache(maxsize=1)
def recipe_files() -> tuple[RecipeFile, ...]:
    """All of them, what most come for first, as presets/recipe_order.yml has it."""
    return tuple(_read(name, presets.recipe_text(name)) for name in presets.facts("recipe_order"))


def find_recipe_file(name: str) -> RecipeFile:
    """A recipe by its name, in any case, or by the only name that begins so. Raises UnknownRecipe for any other."""
    wanted = name.strip().casefold().removesuffix(".yml")
    begun = [file for file in recipe_files() if wanted and file.name.startswith(wanted)]
    exact = [file for file in begun if file.name == wanted]
    if len(exact or begun) == 1:
        return (exact or begun)[0]
    known = ", ".join(file.name for file in begun or recipe_files())
    problem = "is the beginning of several presets" if begun else "is no preset"
    raise UnknownRecipe(f"{name!r} {problem}; choose one of: {known}.")


def _read(name: str, text: str) -> RecipeFile:
    lines = text.splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: _comment_lines(lines)]]
    return RecipeFile(name, comment[0], " ".join(comment[1:]), text)


def _comment_lines(lines: list[str]) -> int:
    return next(number for number, line in enumerate(lines) if not line.startswith("#"))
