"""Axolotl's YAML read as Axolotl reads it, with what it says that Axolotl would not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl.keys import find_dropped_keys
from lora_explorer.exports.axolotl.old_spellings import find_old_spellings
from lora_explorer.exports.axolotl.unmodelled import find_unmodelled_keys
from lora_explorer.exports.yaml_documents.reading import Document, read_document
from lora_explorer.settings import SETTINGS, Finding, Recipe, Setting, recipe_from

LOFTQ_BLOCK = ("peft", "loftq_config")
# Axolotl does not start without data, which is no setting here.
DATA_KEYS = ("datasets", "pretraining_dataset")
# Axolotl's number of bits for a LoftQ block that names none.
_LOFTQ_BITS = 4
# Keys whose absence means a value and whose emptiness does not: Axolotl's schema keeps the null.
REFUSED_EMPTY = ("sequence_len", "num_epochs")
_EMPTY_IS_NO_DEFAULT = ("micro_batch_size", "gradient_accumulation_steps", "optimizer", "lr_scheduler", "nf4_backend")


@dataclass(frozen=True)
class Imported:
    """A file as it was read: its settings, its text, and what it says that Axolotl would not do."""

    recipe: Recipe
    text: str
    findings: tuple[Finding, ...]


def import_axolotl(text: str) -> Imported:
    """Read an Axolotl YAML.

    Raises UnreadableYaml for what is no YAML mapping or too large to be one, and InvalidSettings with one sentence for
    each setting whose value cannot be used. Keys without a setting here stay in the text.
    """
    return imported(read_document(text))


def imported(document: Document) -> Imported:
    """What a document holds. Raises InvalidSettings."""
    values = document.values
    dropped = find_dropped_keys(values)
    named = {finding.setting for finding in dropped}
    read = {key: value for key, value in values.items() if key not in named}
    findings = (*dropped, *find_old_spellings(read), *find_unmodelled_keys(read), *_without_value(values))
    try:
        recipe = recipe_in(values)
    except InvalidSettings as error:
        # A key that was misspelt may be why another one is at fault.
        raise InvalidSettings((*error.findings, *findings)) from error
    return Imported(recipe, document.text, findings)


def recipe_in(values: Mapping[Any, Any]) -> Recipe:
    """The settings among the values of a file. Raises InvalidSettings."""
    problems = tuple(_block_problems(values))
    if problems:
        raise InvalidSettings(problems)
    given = {name: _read(setting, values) for name, setting in SETTINGS.items()}
    return recipe_from({name: value for name, value in given.items() if value is not None})


def _read(setting: Setting, values: Mapping[Any, Any]) -> Any:
    value: Any = values
    for key in setting.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if setting.path[:-1] == LOFTQ_BLOCK and value is None:
        return _LOFTQ_BITS if _loftq_block(values) is not None else None
    if setting.name == "gradient_accumulation_steps" and value is None and "gradient_accumulation_steps" in values:
        return _steps_of_batch_size(values)
    if setting.name == "bf16" and value is None and "bf16" in values:
        # Absent means auto; an empty key stays null and trains in float32.
        return False
    return value


def _steps_of_batch_size(values: Mapping[Any, Any]) -> int | None:
    """Axolotl divides a whole batch only where the number of steps is there and empty."""
    total, rows = values.get("batch_size"), values.get("micro_batch_size", 1)
    return max(total // rows, 1) if isinstance(total, int) and isinstance(rows, int) and rows > 0 else None


def _loftq_block(values: Mapping[Any, Any]) -> Any:
    peft = values.get("peft")
    return peft.get("loftq_config") if isinstance(peft, Mapping) else None


def _block_problems(values: Mapping[Any, Any]) -> list[Finding]:
    """A block that is a plain value: its settings would silently be gone."""
    blocks = {"peft": values.get("peft"), "peft.loftq_config": _loftq_block(values)}
    return [
        Finding(place, "error", f"{place} must be a mapping of keys to values, got {str(block)[:60]!r}.")
        for place, block in blocks.items()
        if block is not None and not isinstance(block, Mapping)
    ]


def _without_value(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """Keys that Axolotl needs a value for."""
    for key in (key for key, value in values.items() if value is None):
        if key in REFUSED_EMPTY:
            message = f"{key} is empty, which Axolotl refuses; without the line it is {SETTINGS[key].default}."
            yield Finding(key, "error", message)
        elif key in _EMPTY_IS_NO_DEFAULT and not (key == "gradient_accumulation_steps" and values.get("batch_size")):
            message = f"{key} is empty, so Axolotl has none at all; without the line it is {SETTINGS[key].default}."
            yield Finding(key, "warning", message)
    if not any(values.get(key) for key in DATA_KEYS):
        yield Finding("datasets", "warning", "datasets is missing; Axolotl does not start without data.")
