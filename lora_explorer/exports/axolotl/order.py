"""In which order Axolotl's own files write their keys."""

from __future__ import annotations

from functools import cache

import yaml

from lora_explorer import presets


@cache
def usual_order() -> tuple[str, ...]:
    """Top-level keys as presets/axolotl_order.yml has them; every setting is among them."""
    return tuple(yaml.safe_load((presets.folder() / "axolotl_order.yml").read_text(encoding="utf-8"))["order"])
