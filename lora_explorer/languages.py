"""The languages of the page: what each English text is in another one.

The English texts stand where they are used; each is its own key, with `{}` where a value is put in. So a text that is
edited has no translation until somebody writes one, and the old one is found to be without use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import Formatter
from types import MappingProxyType

from lora_explorer import presets
from lora_explorer.errors import ExplorerError

ENGLISH = "en"
LANGUAGES: Mapping[str, str] = MappingProxyType({ENGLISH: "English", "zh-CN": "简体中文", "ja": "日本語"})
"""Each by its BCP 47 tag, under the name it gives itself."""

_NUMBERED = re.compile(r"\{(\d*)\}")


class FaultyCatalogue(ExplorerError):
    """A catalogue that says one thing twice, or that is no mapping of texts to texts."""


def translated() -> Iterable[str]:
    """The tags of all languages but English."""
    return (tag for tag in LANGUAGES if tag != ENGLISH)


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(language: str) -> Mapping[str, str]:
    """Every English text with its translation, where a value is `{}`, or `{0}` and `{1}` in another order.

    Raises FaultyCatalogue.
    """
    texts: dict[str, str] = {}
    for file in sorted((presets.folder() / "languages" / language).glob("*.yml")):
        read = presets.facts(f"languages/{language}/{file.stem}")
        if not isinstance(read, dict) or not all(isinstance(text, str) for pair in read.items() for text in pair):
            raise FaultyCatalogue(f"{file.name} must hold texts and their translations alone.")
        if twice := texts.keys() & read.keys():
            raise FaultyCatalogue(f"{file.name} says again: {min(twice)}")
        texts |= read
    return MappingProxyType(texts)


def key_of(template: str) -> str:
    """The key of a text that `str.format` fills in: `{lora_r} is too high.` is `{} is too high.`"""
    return "".join(literal + ("" if name is None else "{}") for literal, name, _, _ in Formatter().parse(template))


def places(translation: str) -> list[int]:
    """Which values a translation puts in, by their number in the English text, in its own order."""
    marks = _NUMBERED.findall(translation)
    return [int(mark) if mark else place for place, mark in enumerate(marks)]
