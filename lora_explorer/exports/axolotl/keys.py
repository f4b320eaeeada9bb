"""Which keys of a file Axolotl reads, and what to say about the others: it drops them without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lora_explorer.exports.axolotl.misspelling import is_slip, vocabulary
from lora_explorer.exports.axolotl.old_spellings import moved
from lora_explorer.exports.axolotl.published_schema import Schema, published_schema, whole_name
from lora_explorer.exports.axolotl.rules import FSDP1_KEYS, REMOVED_KEYS
from lora_explorer.findings import Finding, Fix
from lora_explorer.settings import SETTINGS

# Keys that are written in good faith, and what they would have to be. Facts: Axolotl 0.21's schema and adapter loader.
_TRAPS: Mapping[str, tuple[str, str | None]] = {
    "lora_rank": ("the rank is lora_r", "lora_r"),
    "lora_exclude_modules": (
        "its schema does not have this key, so nothing is excluded; list the modules to adapt",
        "lora_target_modules",
    ),
    "lora_bias": ("adapters never train a bias there", None),
    "bias": ("adapters never train a bias there", None),
    "relora_steps": ("the restarts are set with jagged_restart_steps", "jagged_restart_steps"),
    "lora_out_dir": ("the adapter is saved to output_dir", "output_dir"),
    "use_dora": ("the key is peft_use_dora", "peft_use_dora"),
    "use_rslora": ("the key is peft_use_rslora", "peft_use_rslora"),
    "r": ("the rank is lora_r", "lora_r"),
    "target_modules": ("the key is lora_target_modules", "lora_target_modules"),
    "modules_to_save": ("the key is lora_modules_to_save", "lora_modules_to_save"),
    "per_device_train_batch_size": ("the key is micro_batch_size", "micro_batch_size"),
    "max_seq_length": ("the key is sequence_len", "sequence_len"),
    "lr": ("the key is learning_rate", "learning_rate"),
}

# What it would have done cannot be written as another key.
_NO_OTHER_NAME = ("lora_exclude_modules",)
_MOST_LOOKED_UP = 2000


@dataclass(frozen=True)
class KnownKeys:
    """What Axolotl reads: at the top, and through a plugin that the file lists."""

    version: str
    top: frozenset[str]
    plugin_of: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return sorted(self.top | self.plugin_of.keys())


@cache
def known_keys() -> KnownKeys:
    """The names in Axolotl's schema."""
    published = published_schema()
    return KnownKeys(published.version, frozenset(published.keys), published.plugin_of)


def find_dropped_keys(values: Mapping[Any, Any]) -> tuple[Finding, ...]:
    """One warning for each key of a file that Axolotl does not read."""
    return (*_dropped_at_the_top(values), *_dropped_inside(values))


def _dropped_at_the_top(values: Mapping[Any, Any]) -> Iterator[Finding]:
    known = known_keys()
    names = known.names
    plugins = values.get("plugins")
    listed = plugins if isinstance(plugins, list) else []
    there = {whole_name(plugin) for plugin in listed if isinstance(plugin, str)}
    for place, key in enumerate(values):
        if key in known.top or (key in REMOVED_KEYS and values[key]):
            continue
        if key not in known.plugin_of:
            # So far down it is no configuration, and looking for the name that was meant takes its time.
            yield _dropped(str(key), names if place < _MOST_LOOKED_UP else [], values)
        elif key not in SETTINGS and known.plugin_of[key] not in there:
            plugin = known.plugin_of[key]
            message = f"{key} has no effect until plugins lists {plugin}."
            fix = (("plugins", (*listed, plugin)),)
            yield Finding(str(key), "warning", message, f"plugins: [{plugin}]", outcome="drops", fix=fix)


def _dropped_inside(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """Names in a block with keys of its own, or in the blocks of a list."""
    schemas = published_schema().read_with(values.get("plugins"))
    for key, value in values.items():
        if isinstance(value, (dict, list)) and key in schemas:
            yield from _dropped_in(key, value, schemas[key])


def _dropped_in(place: str, value: Any, schema: Schema) -> Iterator[Finding]:
    blocks = tuple(published_schema().blocks_in(schema))
    # A block that takes no other key is refused with one, which its type says.
    if not blocks or any(block.get("additionalProperties") is False for block in blocks):
        return
    inner = {name: each for block in blocks for name, each in block["properties"].items()}
    for found in value if isinstance(value, list) else [value]:
        for name in found if isinstance(found, dict) else ():
            if name in inner:
                yield from _dropped_in(f"{place}.{name}", found[name], inner[name])
            elif f"{place}.{name}" not in FSDP1_KEYS:
                yield _dropped(f"{place}.{name}", [f"{place}.{known}" for known in inner])


def _dropped(key: str, known: list[str], values: Mapping[Any, Any] | None = None) -> Finding:
    """values: of the file, where the key stands at its top and can be put right."""
    shown = key if len(key) <= 60 else f"{key[:59]}…"
    if key in _TRAPS:
        reason, instead = _TRAPS[key]
        message = f"Axolotl silently drops {shown}: {reason}."
    else:
        instead = vocabulary(tuple(known)).nearest(key)
        guess = f"; did you mean {instead}?" if instead else "."
        message = f"Axolotl does not know {shown} and silently drops it{guess}"
    sure = key in _TRAPS or (instead is not None and is_slip(key, instead))
    fix = _put_right(key, instead, values) if sure and values is not None else ()
    return Finding(key, "warning", message, instead, outcome="drops", fix=fix)


def _put_right(key: str, instead: str | None, values: Mapping[Any, Any]) -> Fix:
    """The value under the name that was meant; without such a name the key goes.

    Where another value stands under that name, only the one who wrote both knows which was meant.
    """
    if instead is None or key in _NO_OTHER_NAME or values.get(instead) == values[key]:
        return ((key, None),)
    return moved(key, instead, values[key]) if values.get(instead) is None else ()
