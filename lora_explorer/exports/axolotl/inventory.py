"""Which keys a file holds: where each of them stands, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lora_explorer import presets
from lora_explorer.exports.axolotl.keys import KnownKeys, known_keys
from lora_explorer.exports.yaml_documents.reading import MERGE_KEY, Document, Node
from lora_explorer.settings import SETTINGS, Setting

Role = Literal["setting", "read", "plugin", "not read"]

_SETTING_OF: Mapping[tuple[str, ...], Setting] = {setting.path: setting for setting in SETTINGS.values()}
_BLOCKS = {path[:depth] for path in _SETTING_OF for depth in range(1, len(path))}


@dataclass(frozen=True)
class KeyInFile:
    """key: dotted where the YAML nests it. first_line, last_line: of key and value, counted from 1.

    role: a setting of this app; read by Axolotl; read by a plugin, which is named; read by nobody.
    meaning: in one sentence, where it is known.
    """

    key: str
    first_line: int
    last_line: int
    role: Role
    meaning: str = ""
    setting: Setting | None = None
    plugin: str = ""


def keys_in(document: Document) -> tuple[KeyInFile, ...]:
    """Top-level keys in the order of the file, settings inside blocks right behind their block."""
    return tuple(_keys(document, document.root, (), known_keys()))


def _keys(document: Document, mapping: Node, outer: tuple[str, ...], known: KnownKeys) -> Iterator[KeyInFile]:
    for key, value in mapping.entries():
        path = (*outer, key.text)
        if key.text == MERGE_KEY or (outer and path not in _SETTING_OF and path not in _BLOCKS):
            continue
        last = document.text.count("\n", 0, max(value.end - 1, key.start)) + 1
        yield _key_in_file(path, (key.line + 1, last), known)
        if path in _BLOCKS and value.kind == "mapping":
            yield from _keys(document, value, path, known)


def _key_in_file(path: tuple[str, ...], lines: tuple[int, int], known: KnownKeys) -> KeyInFile:
    key, setting = ".".join(path), _SETTING_OF.get(path)
    if setting:
        return KeyInFile(key, *lines, "setting", setting.help, setting)
    if path[1:] or key in known.top:
        return KeyInFile(key, *lines, "read", _meanings().get(key, ""))
    plugin = known.plugin_of.get(key, "")
    return KeyInFile(key, *lines, "plugin" if plugin else "not read", plugin=plugin)


@cache
def _meanings() -> Mapping[str, str]:
    """The sentences in presets/axolotl_meanings.yml."""
    return {str(key): str(meaning) for key, meaning in presets.facts("axolotl_meanings")["meanings"].items()}
