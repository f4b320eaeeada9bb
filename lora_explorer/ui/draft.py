"""What a visitor works on: the file last opened, and what the widgets changed since.

The page keeps it, not the server: one small value goes up with every question, so a restart, a second tab or another
server answers the same. It is read like any stranger's input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from lora_explorer.base_models import Access, BaseModel, base_model_from_config, find_base_model
from lora_explorer.errors import ExplorerError, InvalidSettings
from lora_explorer.exports.axolotl import Imported, export_axolotl
from lora_explorer.exports.axolotl.reading import imported
from lora_explorer.exports.axolotl.shared_text import text_to_open
from lora_explorer.exports.yaml_documents.reading import Document, read_document
from lora_explorer.findings import Finding
from lora_explorer.memory import Card, find_card
from lora_explorer.settings import SETTINGS, Recipe, recipe_from
from lora_explorer.ui.codec import Shown, is_shown, to_shown, to_value

Shelf = Mapping[str, Shown]
"""What widgets hold, by the field name of their setting."""


@dataclass(frozen=True)
class Draft:
    """text: the YAML last opened, whose comments and unknown keys come out again. touched: what widgets hold since.

    card: the name of the GPU it is held against. expandable_segments: how its allocator is set up, which is no key of
    the YAML but an environment variable. config: the text of an uploaded config.json, used in place of looking the base
    model up for as long as `config_for` is the base model. unread: a text in the editor that could not be read; it
    stays there, and nothing is counted, until it can.
    """

    text: str
    touched: Shelf = field(default_factory=dict)
    card: str = "RTX 4090"
    expandable_segments: bool = True
    config: str = ""
    config_for: str | None = None
    unread: str | None = None

    @classmethod
    def from_page(cls, value: Any) -> Draft:
        """The draft as a page sent it; what is not as it should be is left out."""
        given = value if isinstance(value, Mapping) else {}
        texts = {
            name: given[name]
            for name in ("text", "card", "config", "config_for", "unread")
            if _is_text(given.get(name))
        }
        touched = given.get("touched")
        known = {name: shown for name, shown in _items(touched) if name in SETTINGS and is_shown(SETTINGS[name], shown)}
        plain = given.get("expandable_segments") is False
        return cls(**({"text": ""} | texts), touched=known, expandable_segments=not plain)

    @classmethod
    def of(cls, recipe: Recipe, template: str | None = None) -> Draft:
        """A draft that holds these very settings. template: as for `text_to_open`."""
        draft = cls(text_to_open(recipe, template))
        read, wanted = shown_by(draft.opened.recipe), shown_by(recipe)
        # An absent key means a default, an emptied widget means none.
        return replace(draft, touched={name: wanted[name] for name in SETTINGS if wanted[name] != read[name]})

    def for_page(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def opened(self) -> Imported:
        """The file as it was opened. Raises UnreadableYaml, InvalidSettings."""
        return open_yaml(self.text)

    @property
    def recipe(self) -> Recipe:
        """The recipe on screen. Raises UnreadableYaml, and InvalidSettings with one sentence for each setting at fault.

        A widget that still shows what the file said leaves its value exactly as it was written.
        """
        recipe = (self.opened if self.unread is None else open_yaml(self.unread)).recipe
        untouched = shown_by(recipe)
        touched = {name: shown for name, shown in self.touched.items() if shown != untouched[name]}
        if not touched:
            return recipe
        given = {name: getattr(recipe, name) for name in recipe.model_fields_set}
        return recipe_from(given | _values(touched))

    @property
    def shown(self) -> Shelf:
        """What every widget holds."""
        return {**shown_by(self.opened.recipe), **self.touched}

    @property
    def written(self) -> str:
        """The text on screen: with everything that was touched, but for values that cannot be used."""
        if self.unread is not None:
            return self.unread
        try:
            return export_axolotl(self.recipe, self.text)
        except ExplorerError as error:
            at_fault = {finding.setting for finding in error.findings}
        usable = {name: shown for name, shown in self.touched.items() if SETTINGS[name].key not in at_fault}
        return replace(self, touched=usable).written if len(usable) < len(self.touched) else self.text

    def base_model(self, recipe: Recipe, access: Access) -> BaseModel:
        """The base model of the recipe, or the uploaded one. Raises UnknownBaseModel."""
        if self.config and recipe.base_model == self.config_for:
            return base_model_from_config(self.config)
        return find_base_model(recipe.base_model, access)

    def held_against(self) -> Card:
        """Raises ExplorerError for a card that is not known."""
        return find_card(self.card)

    def beside(self, other: Draft) -> Draft:
        """Another draft with what is chosen beside the recipe here."""
        return replace(other, card=self.card, expandable_segments=self.expandable_segments)

    def with_text(self, text: str) -> Draft:
        """Another file opened: nothing is touched yet."""
        return replace(self, text=text, touched={}, unread=None)


@lru_cache(maxsize=64)
def open_yaml(text: str) -> Imported:
    """Read an Axolotl YAML. Raises UnreadableYaml, InvalidSettings."""
    return imported(read_yaml(text))


@lru_cache(maxsize=64)
def read_yaml(text: str) -> Document:
    """Read any YAML mapping; what it holds is only read. Raises UnreadableYaml."""
    return read_document(text)


@lru_cache(maxsize=64)
def shown_by(recipe: Recipe) -> Shelf:
    """What the widgets show for a recipe."""
    return {name: to_shown(setting, getattr(recipe, name)) for name, setting in SETTINGS.items()}


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, Mapping) else ()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _values(touched: Shelf) -> dict[str, Any]:
    values: dict[str, Any] = {}
    findings: list[Finding] = []
    for name, shown in touched.items():
        try:
            values[name] = to_value(SETTINGS[name], shown)
        except InvalidSettings as error:
            findings.extend(error.findings)
    if findings:
        raise InvalidSettings(tuple(findings))
    return values
