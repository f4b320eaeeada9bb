"""The settings as a JSON Schema, by which editors complete and check an Axolotl YAML."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import PydanticJsonSchemaWarning

from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.axolotl.types import takes_null
from lora_explorer.settings import SETTINGS, Recipe, Setting

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Axolotl's schema wants these two; data is asked for below.
_REQUIRED = ("base_model", "learning_rate")
_DATA = ("datasets", "pretraining_dataset")
# pydantic's names for the bounds of a union.
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
# What PyYAML gives as text (2e-4), or another YAML as text (yes), and pydantic reads as a value all the same.
_AS_TEXT = {
    "number": r"^[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$",
    "integer": r"^[-+]?[0-9][0-9_]*(\.0*)?$",
    "boolean": "^([Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|[Tt]rue|TRUE|[Ff]alse|FALSE)$",
}


def json_schema() -> Schema:
    """A JSON Schema (draft 2020-12) of the YAML as a whole.

    Every setting stands under its key, with what is known about it. Keys that are no settings but that Axolotl reads
    take any value; all others are faults, because Axolotl drops them without a word.
    """
    known = known_keys()
    properties: Schema = dict.fromkeys(sorted(known.top), True)
    properties |= {
        key: {"description": f"Read only while plugins lists {plugin}."} for key, plugin in known.plugin_of.items()
    }
    described = _described()
    for setting in SETTINGS.values():
        _put(properties, setting.path, described[setting.name])
    return {
        "$schema": DIALECT,
        "$id": f"urn:lora-explorer:axolotl:{known.version}",
        "title": f"Axolotl {known.version}",
        "description": "LoRA settings as LoRA Explorer knows them, beside all other keys that Axolotl reads.",
        "type": "object",
        "properties": properties,
        "required": list(_REQUIRED),
        "anyOf": [{"required": [key]} for key in _DATA],
        "additionalProperties": False,
    }


def _described() -> Mapping[str, Schema]:
    """The schema of each setting by its field name."""
    with warnings.catch_warnings():
        # The defaults are written below, in YAML's own types.
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        fields = Recipe.model_json_schema()["properties"]
    return {name: _of_setting(setting, fields[name]) for name, setting in SETTINGS.items()}


def _of_setting(setting: Setting, field: Schema) -> Schema:
    about: Schema = {"title": setting.label, "description": setting.help}
    about["markdownDescription"] = field.get("markdownDescription", setting.help)
    if setting.source:
        about["x-source"] = setting.source
    members = field.get("anyOf") or [{key: value for key, value in field.items() if key not in (*about, "default")}]
    values = [member for each in members if each != {"type": "null"} for member in _accepted(each)]
    if takes_null(setting.path):
        values.append({"type": "null"})
    if setting.default is not None:
        about["default"] = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    if setting.control.choices and not _are_enumerated(values):
        about["examples"] = [_as_yaml(choice) for choice in setting.control.choices]
    return {**about, "anyOf": values}


def _accepted(member: Schema) -> Iterable[Schema]:
    """A type as JSON Schema says it, and its values as text where they come as text."""
    plain = {_BOUNDS.get(name, name): _inside(value) for name, value in member.items()}
    yield plain
    if plain.get("type") in _AS_TEXT:
        yield {"type": "string", "pattern": _AS_TEXT[plain["type"]]}


def _inside(value: Any) -> Any:
    """Schemas of items and entries: the same, with bounds under their right names."""
    if isinstance(value, dict):
        return {_BOUNDS.get(name, name): _inside(inner) for name, inner in value.items()}
    return [_inside(inner) for inner in value] if isinstance(value, list) else value


def _are_enumerated(values: Iterable[Schema]) -> bool:
    return any("enum" in value or "const" in value for value in values)


def _as_yaml(choice: str) -> Any:
    return {"true": True, "false": False}.get(choice, int(choice) if choice.isdecimal() else choice)


def _put(properties: Schema, path: tuple[str, ...], schema: Schema) -> None:
    """Under its key, blocks around it; a block may be empty."""
    *blocks, last = path
    for block in blocks:
        if not isinstance(properties.get(block), dict):
            properties[block] = {"type": ["object", "null"], "properties": {}, "additionalProperties": False}
        properties = properties[block]["properties"]
    properties[last] = schema
