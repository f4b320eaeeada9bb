"""Axolotl's YAML read as Axolotl reads it, with what it says that Axolotl would not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl.keys import find_dropped_keys
from lora_explorer.exports.axolotl.old_spellings import find_old_spellings
from lora_explorer.exports.axolotl.plugins import find_unknown_plugins
from lora_explorer.exports.axolotl.rules import find_broken_rules
from lora_explorer.exports.axolotl.types import as_typed, find_wrong_types
from lora_explorer.exports.axolotl.unmodelled import find_unmodelled_keys
from lora_explorer.exports.axolotl.values_read import values_read, without_old_prefix
from lora_explorer.exports.yaml_documents.reading import Document, read_document
from lora_explorer.findings import Finding, Outcome
from lora_explorer.settings import SETTINGS, Recipe, Setting, find_problems, recipe_from

LOFTQ_BLOCK = ("peft", "loftq_config")
# Axolotl does not start without data, which is no setting here.
DATA_KEYS = ("datasets", "pretraining_dataset")
# Axolotl's number of bits for a LoftQ block that names none.
_LOFTQ_BITS = 4
# Keys whose absence means a value and whose emptiness does not: Axolotl's schema keeps the null.
_EMPTY_IS_NO_DEFAULT = ("micro_batch_size", "gradient_accumulation_steps", "optimizer", "lr_scheduler")
# What Axolotl's schema lets through and PEFT, or torch, then refuses.
_FAILS_AT_LOAD: Mapping[str, Callable[[Any], bool]] = {
    "lora_r": lambda rank: rank < 1,
    "lora_dropout": lambda share: not 0 <= share <= 1,
    "peft": lambda _: True,
}


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
    refused = tuple(find_wrong_types(without_old_prefix(values)))
    try:
        recipe = recipe_in(values)
    except InvalidSettings as error:
        at_fault = tuple(_as_axolotl_takes_them(error.findings, refused, values))
        # A key that was misspelt may be why another one is at fault.
        raise InvalidSettings((*at_fault, *_about(values, refused), *_about_the_rest(values, at_fault))) from error
    return Imported(recipe, document.text, (*refused, *_about(values, refused)))


def _about(values: Mapping[Any, Any], refused: tuple[Finding, ...]) -> Iterator[Finding]:
    """What there is to say about keys, whether they are settings or not."""
    dropped = find_dropped_keys(without_old_prefix(values))
    named = {finding.setting for finding in (*dropped, *refused)}
    read = {key: value for key, value in values.items() if key not in named}
    yield from dropped
    yield from find_unknown_plugins(read)
    yield from find_old_spellings(read)
    yield from find_broken_rules(values_read(values))
    yield from find_unmodelled_keys(read)
    yield from _without_value(values)


def _about_the_rest(values: Mapping[Any, Any], at_fault: tuple[Finding, ...]) -> Iterator[Finding]:
    """What else stops a run: rules between the settings that can be used, where the others are only out of bounds."""
    keys = {finding.setting for finding in at_fault}
    if any(finding.outcome == "rejects" for finding in at_fault) or _block_problems(values):
        return
    given = {name: _read(setting, values) for name, setting in SETTINGS.items() if setting.key not in keys}
    recipe = recipe_from({name: value for name, value in given.items() if value is not None})
    for finding in find_problems(recipe):
        if finding.setting not in keys and (finding.severity == "error" or finding.outcome == "rejects"):
            yield finding


def _as_axolotl_takes_them(
    findings: tuple[Finding, ...], refused: tuple[Finding, ...], values: Mapping[Any, Any]
) -> Iterator[Finding]:
    """Values that cannot be used here: those that Axolotl refuses too, and those that it would take and run into."""
    by_key = {finding.setting: finding for finding in refused}
    said = set()
    for finding in findings:
        key = finding.setting if finding.setting in by_key else finding.setting.partition(".")[0]
        said.add(key)
        if key in by_key:
            yield replace(finding, outcome="rejects", fix=by_key[key].fix)
        else:
            yield replace(finding, outcome=_outcome(key, values))
    yield from (finding for finding in refused if finding.setting not in said)


def _outcome(key: str, values: Mapping[Any, Any]) -> Outcome | None:
    """What becomes of a value that Axolotl takes and that is of no use here."""
    if values.get(key) is True:
        # Where a number is wanted, pydantic reads it as 1.
        return "changes"
    fails, typed = _FAILS_AT_LOAD.get(key), as_typed({key: values.get(key)})
    return "fails at load" if fails and typed.get(key) is not None and fails(typed[key]) else None


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
    """Keys that Axolotl has no default for once they are there and empty, and data, which it needs."""
    for key in (key for key, value in values.items() if value is None):
        if key in _EMPTY_IS_NO_DEFAULT and not (key == "gradient_accumulation_steps" and values.get("batch_size")):
            default = SETTINGS[key].default
            message = f"{key} is empty, so Axolotl has none at all; without the line it is {default}."
            yield Finding(key, "warning", message, outcome="changes", fix=((key, None),))
    if all(values.get(key) is None for key in DATA_KEYS):
        message = "datasets is missing; Axolotl does not start without data."
        yield Finding("datasets", "warning", message, outcome="rejects")
