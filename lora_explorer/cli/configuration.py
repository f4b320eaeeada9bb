"""A configuration on the command line: its file read, checked, and its base model found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl import Imported, import_axolotl
from lora_explorer.findings import Finding, errors_among
from lora_explorer.settings import Recipe, find_problems

if TYPE_CHECKING:
    from lora_explorer.adapters import AdapterPlan
    from lora_explorer.base_models import BaseModel

# Larger than both readers take, so that they say so.
LARGEST_FILE_BYTES = 4 << 20

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="An Axolotl YAML file, or - for stdin.")]
Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Axolotl YAML files.")]
ModelConfig = Annotated[
    Path | None,
    typer.Option("--model-config", metavar="FILE", help="A Hugging Face config.json in place of base_model."),
]


def read_configuration(config: Path) -> Imported:
    """A configuration as it is, with findings. Raises UnreadableYaml."""
    return import_axolotl(text_of(config))


def usable_configuration(config: Path) -> Imported:
    """A configuration without errors. Raises InvalidSettings with all its findings."""
    found = read_configuration(config)
    checked_recipe(found)
    return found


def checked_recipe(imported: Imported) -> Recipe:
    """Raises InvalidSettings with all findings where one is an error, warnings too: they may explain."""
    findings = all_findings(imported)
    if errors_among(findings):
        raise InvalidSettings(findings)
    return imported.recipe


def all_findings(imported: Imported, plan: AdapterPlan | None = None) -> tuple[Finding, ...]:
    """Of the file, of its settings, and of the adapter where there is one."""
    return (*imported.findings, *find_problems(imported.recipe), *(plan.findings if plan else ()))


def base_model_of(recipe: Recipe, model_config: Path | None) -> BaseModel:
    """The base model, or the architecture of a config.json in its place. Raises UnknownBaseModel."""
    from lora_explorer.base_models import base_model_from_config, find_base_model

    if model_config is None:
        return find_base_model(recipe.base_model)
    return base_model_from_config(text_of(model_config), recipe.base_model or str(model_config))


def text_of(file: Path) -> str:
    """The text of a file, or of stdin, cut where it is too large for either reader.

    What is no UTF-8 becomes a character that the readers refuse, with its line.
    """
    if str(file) == "-":
        return sys.stdin.buffer.read(LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from error
