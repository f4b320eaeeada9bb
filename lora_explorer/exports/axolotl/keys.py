"""Which keys of a file Axolotl reads, and what to say about the others: it drops them without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from lora_explorer import presets
from lora_explorer.exports.axolotl.misspelling import vocabulary
from lora_explorer.settings import SETTINGS, Finding

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

_MOST_LOOKED_UP = 2000


@dataclass(frozen=True)
class KnownKeys:
    """What Axolotl reads: at the top, through a plugin that the file lists, and inside blocks with their own schema."""

    version: str
    top: frozenset[str]
    plugin_of: Mapping[str, str]
    nested: Mapping[str, frozenset[str]]

    @property
    def names(self) -> list[str]:
        return sorted(self.top | self.plugin_of.keys())


@cache
def known_keys() -> KnownKeys:
    """The names in presets/axolotl_keys.yml."""
    read = yaml.safe_load((presets.folder() / "axolotl_keys.yml").read_text(encoding="utf-8"))
    return KnownKeys(
        version=str(read["axolotl"]),
        top=frozenset(read["keys"]),
        plugin_of={key: plugin for plugin, keys in read["plugin_keys"].items() for key in keys},
        nested={place: frozenset(keys) for place, keys in read["nested_keys"].items()},
    )


def find_dropped_keys(values: Mapping[Any, Any]) -> tuple[Finding, ...]:
    """One warning for each key of a file that Axolotl does not read."""
    return (*_dropped_at_the_top(values), *_dropped_inside(values))


def _dropped_at_the_top(values: Mapping[Any, Any]) -> Iterator[Finding]:
    known = known_keys()
    names = known.names
    plugins = values.get("plugins")
    listed = plugins if isinstance(plugins, list) else []
    for place, key in enumerate(values):
        if key in known.top:
            continue
        if key not in known.plugin_of:
            # So far down it is no configuration, and looking for the name that was meant takes its time.
            yield _dropped(str(key), names if place < _MOST_LOOKED_UP else [])
        elif key not in SETTINGS and known.plugin_of[key] not in listed:
            plugin = known.plugin_of[key]
            message = f"{key} has no effect until plugins lists {plugin}."
            yield Finding(str(key), "warning", message, f"plugins: [{plugin}]")


def _dropped_inside(values: Mapping[Any, Any]) -> Iterator[Finding]:
    for place, known in known_keys().nested.items():
        block: Any = values
        for name in place.split("."):
            block = block.get(name) if isinstance(block, Mapping) else None
        for key in block if isinstance(block, Mapping) else ():
            if key not in known:
                yield _dropped(f"{place}.{key}", [f"{place}.{name}" for name in known])


def _dropped(key: str, known: list[str]) -> Finding:
    shown = key if len(key) <= 60 else f"{key[:59]}…"
    if key in _TRAPS:
        reason, instead = _TRAPS[key]
        return Finding(key, "warning", f"Axolotl silently drops {shown}: {reason}.", instead)
    nearest = vocabulary(tuple(known)).nearest(key)
    if nearest is None:
        return Finding(key, "warning", f"Axolotl does not know {shown} and silently drops it.")
    return Finding(
        key, "warning", f"Axolotl does not know {shown} and silently drops it; did you mean {nearest}?", nearest
    )
