"""The YAML around shared settings: a link holds the settings alone, and may name a recipe whose text they stand in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer import presets
from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl.reading import import_axolotl
from lora_explorer.exports.axolotl.writing import DATA_TO_REPLACE, export_axolotl
from lora_explorer.exports.yaml_documents.editing import with_value
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.settings import SETTINGS, Recipe

_MOST_NAMED = 5


def find_template(recipe: Recipe, text: str) -> str | None:
    """The name of the recipe in presets/recipes that becomes this very text once these settings are written into it."""
    return next((name for name in presets.recipe_names() if _written_into(name, recipe) == text), None)


def text_to_open(recipe: Recipe, template: str | None = None) -> str:
    """A YAML that reads back as the very same settings, in the template where that is possible.

    A setting that is None is an absent key.
    """
    written = (_written_into(template, recipe) if template else None, export_axolotl(recipe))
    return next((text for text in written if text and is_exactly(text, recipe)), None) or _spelt_out(recipe)


def unshared_of(text: str) -> Iterator[str]:
    """What a text holds beside its settings, as sentences. Raises UnreadableYaml."""
    roots = {setting.path[0] for setting in SETTINGS.values()}
    names = [str(key) for key in read_document(text).values if key not in roots]
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        listed = ", ".join(names[:_MOST_NAMED])
        yield f"The link holds settings alone, not the other keys of the YAML: {listed}{more}."
    if any(line.lstrip().startswith("#") or " #" in line for line in text.splitlines()):
        yield "The comments of the YAML are not in the link."


def is_exactly(text: str, recipe: Recipe) -> bool:
    """Whether a text reads back as this recipe: 1 is not 1.0, nor a written default an absent key."""
    try:
        read_back = import_axolotl(text).recipe
    except (UnreadableYaml, InvalidSettings):
        return False
    # repr tells 1, 1.0 and True apart.
    return read_back.model_fields_set == _given(recipe) and repr(read_back) == repr(recipe)


def _given(recipe: Recipe) -> set[str]:
    return {name for name in recipe.model_fields_set if getattr(recipe, name) is not None}


def _written_into(template: str, recipe: Recipe) -> str:
    return export_axolotl(recipe, presets.recipe_text(template))


def _spelt_out(recipe: Recipe) -> str:
    """What was given, as it was given: empty lists and decimal points too, which a file for people goes without."""
    values: dict[Any, Any] = {}
    for name in (name for name in SETTINGS if name in _given(recipe)):
        values = with_value(values, SETTINGS[name].path, _plain(getattr(recipe, name)))
    return f"{entries_as_text(values)}\n{DATA_TO_REPLACE}" if values else DATA_TO_REPLACE


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
