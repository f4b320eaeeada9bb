"""bitsandbytes' 4-bit options, which programs name alike and fill in differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer.exports.vocabulary import Conversion, Said, Values, otherwise
from lora_explorer.settings import Recipe

_DOUBLE = "bnb_4bit_use_double_quant"
_TYPE = "bnb_4bit_quant_type"
# What Axolotl starts from.
AXOLOTL: Mapping[str, Any] = {_DOUBLE: True, _TYPE: "nf4"}


def options(recipe: Recipe) -> dict[str, Any]:
    """All options in force for 4-bit base weights."""
    return {**AXOLOTL, **recipe.bnb_config_kwargs}


def four_bit_options(title: str, double_key: str, type_key: str) -> Conversion:
    """Double quantization and the kind of 4-bit number, under the program's keys for them."""

    def write(recipe: Recipe) -> Iterator[Said]:
        if not (recipe.adapter and recipe.load_in_4bit):
            return
        yield double_key, options(recipe)[_DOUBLE]
        yield type_key, options(recipe)[_TYPE]
        others = [str(name) for name in recipe.bnb_config_kwargs if name not in AXOLOTL]
        if others:
            yield otherwise("bnb_config_kwargs", f"{title} has nothing for {', '.join(others)} of bnb_config_kwargs.")

    def read(entries: Values) -> Iterator[Said]:
        found = {_DOUBLE: entries.get(double_key), _TYPE: entries.get(type_key)}
        departing = {name: value for name, value in found.items() if value not in (None, AXOLOTL[name])}
        # Options of weights that are not held in 4 bits do nothing.
        yield "bnb_config_kwargs", departing if departing and is_four_bit(entries) else None

    return Conversion(("bnb_config_kwargs",), (double_key, type_key), write, read)


def is_four_bit(entries: Values) -> bool:
    bits = entries.get("quantization_bit", entries.get("quant_bits"))
    return bool(entries.get("load_in_4bit")) or bits == 4
