"""A configuration on the command line: its file read, checked, and its base model found."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_explorer.base_models.model_source import is_hub_id
from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl import Imported
from lora_explorer.exports.peft import find_adapter_config
from lora_explorer.exports.peft.adapter_config import FILE_NAME
from lora_explorer.exports.recognition import import_configuration
from lora_explorer.findings import Finding, errors_among
from lora_explorer.settings import Recipe, find_problems

if TYPE_CHECKING:
    from lora_explorer.adapters import AdapterPlan
    from lora_explorer.base_models import BaseModel

# Larger than both readers take, so that they say so.
LARGEST_FILE_BYTES = 4 << 20

_FORMS = "An Axolotl YAML or another program's file, an adapter's folder or Hub id"
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help=f"{_FORMS}, or - for stdin.")]
Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help=f"{_FORMS}.")]
ModelConfig = Annotated[
    Path | None,
    typer.Option("--model-config", metavar="FILE", help="A Hugging Face config.json in place of base_model."),
]
BaseModelName = Annotated[
    str | None,
    typer.Option("--base-model", metavar="NAME", help="A preset, Hub id or folder in place of the file's base model."),
]


def read_configuration(config: Path, base_model: str | None = None) -> Imported:
    """A configuration as it is, with findings. Raises UnreadableYaml, UnknownAdapter.

    base_model: in place of its own.
    """
    return configuration_in(*named_text_of(config), base_model)


def configuration_in(text: str, file_name: str, base_model: str | None = None) -> Imported:
    """The configuration of a text that is read already. Raises UnreadableYaml, InvalidSettings."""
    found = import_configuration(text, file_name)
    return found if base_model is None else replace(found, recipe=found.recipe.changed(base_model=base_model))


def usable_configuration(config: Path, base_model: str | None = None) -> Imported:
    """A configuration without errors. Raises InvalidSettings with all its findings."""
    found = read_configuration(config, base_model)
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


def named_text_of(config: Path) -> tuple[str, str]:
    """The text of a file, or of an adapter_config.json in a folder or on the Hub, and the name of the file."""
    if config.is_dir() and not (config / FILE_NAME).exists():
        raise typer.BadParameter(f"There is no {FILE_NAME} in the folder {config}.")
    if config.is_dir() or _is_on_the_hub(config):
        return find_adapter_config(str(config)), FILE_NAME
    return text_of(config), config.name


def _is_on_the_hub(config: Path) -> bool:
    """Whether a name is meant as owner/name, and not as a file that is missing from a folder."""
    here = config.exists() or config.parent.is_dir()
    return not here and is_hub_id(str(config)) and config.suffix not in (".yml", ".yaml", ".json")


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
