"""Presets that visitors keep: a name and a draft each, in the browser's storage or in a file. Both are a stranger's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.errors import ExplorerError, InvalidSettings, UnreadablePresets
from lora_explorer.exploration.permalink import LONGEST_NAME
from lora_explorer.exports.yaml_documents.reading import LARGEST_TEXT_BYTES
from lora_explorer.memory import cards
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.draft import Draft, read_yaml

STORED = "lora-explorer.presets.1"
"""The key under which the browser keeps them: a list of {name, draft}."""
MOST_PRESETS = 30
FORMAT, VERSION = "lora-explorer presets", 1
LARGEST_FILE_BYTES = 2 << 20
_TEXTS = ("text", "card", "config", "config_for", "unread")
_MAY_BE_NULL = ("config_for", "unread")


@dataclass(frozen=True)
class OwnPreset:
    name: str
    draft: Draft


def read_presets(text: Any) -> tuple[OwnPreset, ...]:
    """The presets of a file, all or none. Raises UnreadablePresets with one sentence on what is wrong."""
    if not isinstance(text, str) or len(text) > LARGEST_FILE_BYTES:
        raise UnreadablePresets(f"The file is larger than {LARGEST_FILE_BYTES >> 20} MiB, far more than presets need.")
    listed = _listed(_content(text))
    presets = tuple(_preset(number, each) for number, each in enumerate(listed, start=1))
    names = [preset.name for preset in presets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UnreadablePresets(f"Two presets of the file are called {twice!r}.")
    return presets


def _content(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadablePresets(f"The file is not JSON: something is wrong at line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:
        raise UnreadablePresets("The file is not JSON of a usual size and depth.") from error


def _listed(content: Any) -> list[Any]:
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise UnreadablePresets(f'The file holds no presets of this page: its "format" is not "{FORMAT}".')
    version, listed = content.get("version"), content.get("presets")
    if version is True or version != VERSION:
        raise UnreadablePresets(f"The file is not of version {VERSION}, the only one that is read here.")
    if not isinstance(listed, list) or not listed:
        raise UnreadablePresets("The file holds no presets.")
    if len(listed) > MOST_PRESETS:
        raise UnreadablePresets(f"The file holds {len(listed)} presets; {MOST_PRESETS} are the most.")
    return listed


def _preset(number: int, given: Any) -> OwnPreset:
    name = given.get("name") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or not name.strip() or len(name.strip()) > LONGEST_NAME:
        raise UnreadablePresets(f"Preset {number} of the file has no name of at most {LONGEST_NAME} characters.")
    about = f"Preset {number} of the file, {name.strip()!r},"
    problem = _problem(given.get("draft"))
    if problem:
        raise UnreadablePresets(f"{about} {problem}.")
    draft = Draft.from_page(given["draft"])
    try:
        read_yaml(draft.text)
        _ = draft.recipe
    except InvalidSettings:
        # Settings at fault may be kept like any others; they are told when the preset is opened.
        return OwnPreset(name.strip(), draft)
    except ExplorerError as error:
        raise UnreadablePresets(f"{about} cannot be used: {error}") from error
    return OwnPreset(name.strip(), draft)


def _problem(draft: Any) -> str:
    """Why this is no draft, as the end of a sentence."""
    if not isinstance(draft, Mapping) or not isinstance(draft.get("text"), str):
        return "holds no configuration"
    for name in _TEXTS:
        value = draft.get(name, "")
        if not isinstance(value, str) and not (value is None and name in _MAY_BE_NULL):
            return f'holds a "{name}" that is no text'
        if len(value or "") > LARGEST_TEXT_BYTES:
            return f'holds a "{name}" of more than {LARGEST_TEXT_BYTES // 1024} KiB'
    card = draft.get("card", Draft.card)
    if card not in [each.name for each in cards()]:
        return f"holds the card {card[:LONGEST_NAME]!r}, which is not known here"
    touched = draft.get("touched", {})
    if not isinstance(touched, Mapping):
        return 'holds a "touched" that is no mapping'
    unknown = next((name for name in touched if name not in SETTINGS), None)
    if unknown is not None:
        return f"holds the setting {unknown[:LONGEST_NAME]!r}, which is not known here"
    if not isinstance(draft.get("expandable_segments", True), bool):
        return 'holds an "expandable_segments" that is neither true nor false'
    return ""
