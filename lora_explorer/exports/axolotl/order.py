"""In which order Axolotl's own files write their keys."""

from __future__ import annotations

from functools import cache

from lora_explorer import presets


@cache
def usual_order() -> tuple[str, ...]:
    """Top-level keys as presets/axolotl_order.yml has them; every setting is among them."""
    return tuple(presets.facts("axolotl_order")["order"])
