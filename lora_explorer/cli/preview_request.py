"""From a CONFIG and the options beside it to a request for a preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from lora_explorer.cli.configuration import all_findings, base_model_of, usable_configuration
from lora_explorer.cli.output import tell
from lora_explorer.errors import PreviewRefused
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.preview.data import BUILT_IN_SETS, data_choice_from, with_keys_beside
from lora_explorer.preview.data.hub_rows import hub_rows
from lora_explorer.preview.request import DataChoice, DatasetType, PreviewRequest
from lora_explorer.questions import quiet_libraries

_USUAL = DataChoice()


@dataclass(frozen=True)
class Call:
    """What was written on the command line. choices: fields of a PreviewRequest that need no second look."""

    config: Path
    model_config: Path | None = None
    data: str | None = None
    type: DatasetType | None = None
    seed: int | None = None
    choices: Mapping[str, Any] | None = None


def request_of(call: Call) -> tuple[PreviewRequest, tuple[str, ...]]:
    """The request, and what to say of its data. Raises ExplorerError."""
    imported = usable_configuration(call.config)
    recipe = imported.recipe if call.seed is None else imported.recipe.changed(seed=call.seed)
    base_model = base_model_of(recipe, call.model_config)
    tell(all_findings(imported))
    text = export_axolotl(recipe, imported.text)
    data, notes = _data(call, text)
    return PreviewRequest(recipe, base_model, text=text, data=data, **(call.choices or {})), notes


def _data(call: Call, text: str) -> tuple[DataChoice, tuple[str, ...]]:
    """What was asked for; else the configuration's own data where they can be had; else a built-in set, with a note."""
    values = read_document(text).values
    if call.data is not None:
        return with_keys_beside(_named(call, call.data), values), ()
    usual = with_keys_beside(_USUAL, values)
    try:
        own = data_choice_from(values)
        if own is None:
            return usual, ("The configuration names no data, so the built-in instructions are used.",)
        _look_for(own)
    except PreviewRefused as refused:
        return usual, (f"{refused} The built-in instructions are used instead.",)
    return replace(own, type=call.type or own.type), ()


def _named(call: Call, name: str) -> DataChoice:
    """What --data names. Raises PreviewRefused."""
    if name in BUILT_IN_SETS:
        if call.type is not None:
            raise typer.BadParameter("The built-in data sets have types of their own.", param_hint="--type")
        return DataChoice(name=name)
    entry = {"path": name, "type": call.type}
    return data_choice_from({"datasets": [entry], "val_set_size": _USUAL.val_set_size}) or _USUAL


def _look_for(choice: DataChoice) -> None:
    """Raise PreviewRefused where data cannot be had here at all. A file that is there may still be refused later."""
    if choice.origin == "hub":
        with quiet_libraries():
            hub_rows(choice, 1)
    elif not Path(choice.name).exists():
        raise PreviewRefused(f"{choice.name} is not on this machine.", setting="datasets")
