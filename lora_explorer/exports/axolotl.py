"""Axolotl's YAML, both ways: read as Axolotl reads it, written so that only what was changed changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl_keys import find_dropped_keys
from lora_explorer.exports.unmodelled_keys import find_unmodelled_keys
from lora_explorer.exports.yaml_editing import Removed, edited, with_value
from lora_explorer.exports.yaml_reading import Document, read_document
from lora_explorer.exports.yaml_text import entries_as_text
from lora_explorer.settings import SETTINGS, Finding, Recipe, Setting, recipe_from

_LOFTQ_BLOCK = ("peft", "loftq_config")
# Axolotl's number of bits for a LoftQ block that names none.
_LOFTQ_BITS = 4
# Keys whose absence means a value and whose emptiness does not: Axolotl's schema keeps the null.
_REFUSED_EMPTY = ("sequence_len", "num_epochs")
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
    return _imported(read_document(text))


def export_axolotl(recipe: Recipe, original: str = "") -> str:
    """Write a recipe as Axolotl YAML.

    With the text it was imported from, only the lines of changed settings change. Without, the settings that were given
    or differ from Axolotl's defaults are written in the order of the page.
    Raises what import_axolotl raises if the original cannot be read.
    """
    if not original.strip():
        return _fresh(recipe)
    document = read_document(original)
    before = _imported(document).recipe
    changes = {
        _path_to_change(setting, recipe): _value_to_write(setting, recipe)
        for name, setting in SETTINGS.items()
        if getattr(recipe, name) != getattr(before, name)
    }
    if not changes:
        return original
    wanted = _with_changes(document.values, changes)
    proposal = edited(document, changes, _ORDERS)
    return proposal if _says(proposal, recipe, wanted) else entries_as_text(wanted) or "{}\n"


def _fresh(recipe: Recipe) -> str:
    values: dict[Any, Any] = {}
    for name, setting in SETTINGS.items():
        value = _value_to_write(setting, recipe)
        given = name in recipe.model_fields_set and value not in ([], {})
        if not isinstance(value, Removed) and (given or getattr(recipe, name) != setting.default):
            values = with_value(values, setting.path, value)
    groups = groupby(values.items(), key=lambda entry: _GROUP_OF[entry[0]])
    return "\n".join([*(entries_as_text(dict(entries)) for _, entries in groups), _DATA])


# Axolotl does not start without data, which is no setting here.
_DATA_KEYS = ("datasets", "pretraining_dataset")
_DATA = """\
# Your data goes here; Axolotl does not start without any.
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
"""
_GROUP_OF = {setting.path[0]: setting.group for setting in SETTINGS.values()}
_ORDERS: Sequence[Sequence[str]] = tuple(
    tuple(key for key, _ in entries) for _, entries in groupby(_GROUP_OF.items(), key=lambda entry: entry[1])
)


def _imported(document: Document) -> Imported:
    values = document.values
    problems = tuple(_block_problems(values))
    if problems:
        raise InvalidSettings(problems)
    dropped = find_dropped_keys(values)
    read = {key: value for key, value in values.items() if key not in {finding.setting for finding in dropped}}
    findings = (*dropped, *find_unmodelled_keys(read), *_without_value(values))
    given = {name: _read(setting, values) for name, setting in SETTINGS.items()}
    try:
        recipe = recipe_from({name: value for name, value in given.items() if value is not None})
    except InvalidSettings as error:
        # A key that was misspelt may be why another one is at fault.
        raise InvalidSettings((*error.findings, *findings)) from error
    return Imported(recipe, document.text, findings)


def _read(setting: Setting, values: Mapping[Any, Any]) -> Any:
    value: Any = values
    for key in setting.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if setting.path[:-1] == _LOFTQ_BLOCK and value is None:
        return _LOFTQ_BITS if _loftq_block(values) is not None else None
    if setting.name == "bf16" and value is None and "bf16" in values:
        # Absent means auto; an empty key stays null and trains in float32.
        return False
    return value


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
        if key in _REFUSED_EMPTY:
            message = f"{key} is empty, which Axolotl refuses; without the line it is {SETTINGS[key].default}."
            yield Finding(key, "error", message)
        elif key in _EMPTY_IS_NO_DEFAULT:
            message = f"{key} is empty, so Axolotl has none at all; without the line it is {SETTINGS[key].default}."
            yield Finding(key, "warning", message)
    if not any(values.get(key) for key in _DATA_KEYS):
        yield Finding("datasets", "warning", "datasets is missing; Axolotl does not start without data.")


def _path_to_change(setting: Setting, recipe: Recipe) -> tuple[str, ...]:
    """LoftQ is off only without its whole block."""
    gone = getattr(recipe, setting.name) is None
    return setting.path[:-1] if gone and setting.path[:-1] == _LOFTQ_BLOCK else setting.path


def _value_to_write(setting: Setting, recipe: Recipe) -> Any:
    value = getattr(recipe, setting.name)
    at_rest = value == setting.default and type(value) is type(setting.default)
    if value is None or (at_rest and setting.name not in recipe.model_fields_set):
        return Removed(_plain(setting.default) if setting.default not in ((), {}) else None)
    return _plain(value)


def _plain(value: Any) -> Any:
    """A value in YAML's own types; a whole number without its decimal point."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) if isinstance(item, tuple) else item for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_changes(values: Mapping[Any, Any], changes: Mapping[tuple[str, ...], Any]) -> dict[Any, Any]:
    result = dict(values)
    for path, value in changes.items():
        result = with_value(result, path, value)
    return result


def _says(text: str, recipe: Recipe, wanted: Mapping[Any, Any]) -> bool:
    """Whether a text means a recipe and still holds everything else that it held."""
    try:
        document = read_document(text)
        read_back = _imported(document).recipe
    except (UnreadableYaml, InvalidSettings):
        return False
    return read_back == recipe and _without_settings(document.values) == _without_settings(wanted)


def _without_settings(values: Mapping[Any, Any]) -> dict[str, str]:
    # repr, because two values that are not a number (.nan) are never equal.
    return {repr(key): repr(value) for key, value in values.items() if key not in _GROUP_OF}
