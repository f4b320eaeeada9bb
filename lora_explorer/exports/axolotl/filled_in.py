"""What Axolotl puts into a configuration by itself: defaults that matter, and values that follow from others.

Facts: its schema's defaults, and its validators. Assumed is one CUDA card of compute capability 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.exports.axolotl.following import FOLLOWS, Values
from lora_explorer.exports.axolotl.published_schema import published_schema
from lora_explorer.exports.axolotl.types import as_typed
from lora_explorer.exports.axolotl.values_read import values_read, without_old_prefix
from lora_explorer.settings import SETTINGS


@dataclass(frozen=True)
class FilledIn:
    """key: dotted where the YAML nests it. value: what Axolotl goes on with. why: one sentence."""

    key: str
    value: Any
    why: str


def filled_in(values: Mapping[Any, Any]) -> tuple[FilledIn, ...]:
    """What a file with these values leaves to Axolotl, in the order of the page, then by key."""
    read, written = values_read(values), as_typed(without_old_prefix(values))
    follows = tuple(_following(read, written))
    keys = {each.key for each in follows}
    defaults = (each for each in _defaults(read, written) if each.key not in keys)
    return tuple(sorted((*follows, *defaults), key=_place))


def _place(each: FilledIn) -> tuple[int, str]:
    return _PLACES.get(each.key, len(_PLACES)), each.key


_PLACES = {setting.key: place for place, setting in enumerate(SETTINGS.values())}


def _following(read: Values, written: Values) -> Iterator[FilledIn]:
    for each in FOLLOWS:
        value = each.value(read)
        if value is not None and value != _at(written, each.key):
            yield FilledIn(each.key, value, each.why)


def _at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _defaults(read: Values, written: Values) -> Iterator[FilledIn]:
    """Defaults of keys that are not there: of settings, and of some others; none that only says that nothing is on."""
    published = published_schema().read_with(written.get("plugins"))
    for key in (*SETTINGS, *_OTHER_DEFAULTS):
        default = published.get(key, {}).get("default")
        if key not in written and default not in (None, False) and _matters(key, read):
            yield FilledIn(key, default, "This is the default.")


def _matters(key: str, values: Values) -> bool:
    """Whether a default has an effect."""
    condition = _MATTERS.get(key)
    return condition is None or bool(condition(values))


# Keys that are no settings, and whose defaults people run into.
_OTHER_DEFAULTS = ("output_dir", "val_set_size")
# Defaults that have an effect only where this holds.
_MATTERS: Mapping[str, Callable[[Values], object]] = {
    "nf4_backend": lambda values: values.get("load_in_4bit"),
    "lora_dropout": lambda values: values.get("adapter"),
    "loraplus_lr_embedding": lambda values: values.get("loraplus_lr_ratio"),
    "weight_decay": lambda values: False,
}
