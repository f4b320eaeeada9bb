"""What Axolotl's own schema says of its keys: their types, their defaults, and the blocks inside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lora_explorer import presets

Schema = Mapping[str, Any]

# A block's name in `$ref`.
_REFERENCE = "$ref"
# Where Axolotl's own plugins are; it finds them without this part of the path as well.
FULL_PATH = "axolotl.integrations."


@dataclass(frozen=True)
class PublishedSchema:
    """keys: of the top. plugins: the keys that a listed plugin adds. blocks: mappings with keys of their own."""

    version: str
    keys: Mapping[str, Schema]
    plugins: Mapping[str, Mapping[str, Schema]]
    blocks: Mapping[str, Schema]

    @property
    def plugin_of(self) -> Mapping[str, str]:
        """The plugin that brings a key."""
        return {key: plugin for plugin, keys in self.plugins.items() for key in keys}

    def read_with(self, plugins: Any) -> Mapping[str, Schema]:
        """The keys that are read while a file lists these plugins."""
        listed = {whole_name(name) for name in plugins if isinstance(name, str)} if isinstance(plugins, list) else ()
        added = (keys for plugin, keys in self.plugins.items() if plugin in listed)
        return {key: schema for keys in (self.keys, *added) for key, schema in keys.items()}

    def blocks_in(self, schema: Schema) -> Iterator[Schema]:
        """The blocks that a value of a key may be, or hold in a list."""
        if _REFERENCE in schema:
            block = self.blocks[schema[_REFERENCE]]
            if "properties" in block:
                yield block
        for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])):
            yield from self.blocks_in(inner)


def whole_name(plugin: str) -> str:
    """A plugin's name as Axolotl's own files have it: with dots only, and the whole path."""
    dotted = plugin.replace(":", ".")
    return dotted if dotted.startswith(FULL_PATH) else f"{FULL_PATH}{dotted}"


@cache
def published_schema() -> PublishedSchema:
    """The facts in presets/axolotl_schema.json."""
    read = json.loads((presets.folder() / "axolotl_schema.json").read_text(encoding="utf-8"))
    return PublishedSchema(read["axolotl"], read["keys"], read["plugins"], read["blocks"])
