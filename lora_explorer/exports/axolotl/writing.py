"""A recipe written as Axolotl's YAML, so that only what was changed changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl.order import usual_order
from lora_explorer.exports.axolotl.reading import LOFTQ_BLOCK, recipe_in
from lora_explorer.exports.yaml_documents.editing import Removed, edited, with_value
from lora_explorer.exports.yaml_documents.reading import Document, read_document
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.settings import SETTINGS, Recipe, Setting


def export_axolotl(recipe: Recipe, original: str = "", *, comments: bool = False) -> str:
    """Write a recipe as Axolotl YAML.

    With the text it was imported from, only the lines of changed settings change, and a new key comes where Axolotl's
    own files have it. Without, the settings that were given or differ from Axolotl's defaults are written in the order
    of the page. comments: a new key is explained in a comment above it.
    Raises what import_axolotl raises if the original cannot be read.
    """
    if not original.strip():
        return _fresh(recipe, comments=comments)
    document, before = _opened(original)
    changes = {
        _path_to_change(setting, recipe): _value_to_write(setting, recipe)
        for setting in _IN_USUAL_ORDER
        if getattr(recipe, setting.name) != getattr(before, setting.name)
    }
    if not changes:
        return original
    wanted = _with_changes(document.values, changes)
    proposal = edited(document, changes, (usual_order(),), _COMMENTS if comments else {})
    return proposal if _says(proposal, recipe, wanted) else entries_as_text(wanted) or "{}\n"


@lru_cache(maxsize=8)
def _opened(original: str) -> tuple[Document, Recipe]:
    """A text that is written into again and again while a slider moves; its values are only read."""
    document = read_document(original)
    return document, recipe_in(document.values)


def _fresh(recipe: Recipe, *, comments: bool) -> str:
    values: dict[Any, Any] = {}
    for name, setting in SETTINGS.items():
        value = _value_to_write(setting, recipe)
        given = name in recipe.model_fields_set and value not in ([], {})
        if not isinstance(value, Removed) and (given or getattr(recipe, name) != setting.default):
            values = with_value(values, setting.path, value)
    groups = groupby(values.items(), key=lambda entry: _GROUP_OF[entry[0]])
    return "\n".join([*(_entries(dict(entries), comments=comments) for _, entries in groups), DATA_TO_REPLACE])


def _entries(values: Mapping[Any, Any], *, comments: bool) -> str:
    if not comments:
        return entries_as_text(values)
    return "".join(f"# {_COMMENTS[key]}\n{entries_as_text({key: value})}" for key, value in values.items())


DATA_TO_REPLACE = """\
# Your data goes here; Axolotl does not start without any.
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
"""
_GROUP_OF = {setting.path[0]: setting.group for setting in SETTINGS.values()}
_COMMENTS = {setting.path[0]: setting.help for setting in SETTINGS.values()}
_PLACES = {key: place for place, key in enumerate(usual_order())}
_IN_USUAL_ORDER = sorted(SETTINGS.values(), key=lambda setting: _PLACES[setting.path[0]])


def _path_to_change(setting: Setting, recipe: Recipe) -> tuple[str, ...]:
    """LoftQ is off only without its whole block."""
    gone = getattr(recipe, setting.name) is None
    return setting.path[:-1] if gone and setting.path[:-1] == LOFTQ_BLOCK else setting.path


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
        read_back = recipe_in(document.values)
    except (UnreadableYaml, InvalidSettings):
        return False
    return read_back == recipe and _without_settings(document.values) == _without_settings(wanted)


def _without_settings(values: Mapping[Any, Any]) -> dict[str, str]:
    # repr, because two values that are not a number (.nan) are never equal.
    return {repr(key): repr(value) for key, value in values.items() if key not in _GROUP_OF}
