"""What must be set together with a value so that Axolotl takes it, as far as there is one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_explorer.memory.switches import NO_LOSS, half_precision_written
from lora_explorer.settings import Recipe
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG, CUT_CROSS_ENTROPY_PLUGIN, LIGER_PLUGIN

Changes = Mapping[str, Any]

_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
_PLUGIN_OF_LOSS = {
    "liger_fused_linear_cross_entropy": LIGER_PLUGIN,
    "liger_cross_entropy": LIGER_PLUGIN,
    "cut_cross_entropy": CUT_CROSS_ENTROPY_PLUGIN,
}

WEIGHTS_IN_BITS: Mapping[int, Changes] = {
    4: {"adapter": "qlora", "load_in_4bit": True, "load_in_8bit": False},
    # The fused kernels do not work on 8-bit weights.
    8: {"adapter": "lora", "load_in_4bit": False, "load_in_8bit": True, **dict.fromkeys(_KERNELS)},
    16: {"adapter": "lora", "load_in_4bit": False, "load_in_8bit": False},
}
"""How the base weights are held, each with the adapter that Axolotl pairs with it."""


def companions_of(name: str, value: Any, recipe: Recipe) -> Changes:
    """The other settings that change with a setting's new value; by field name, nothing where none has to."""
    rule = _COMPANIONS.get(name)
    return rule(value, recipe) if rule else {}


def _of_four_bits(value: Any, recipe: Recipe) -> Changes:
    return WEIGHTS_IN_BITS[4] if value else {"adapter": "lora"}


def _of_eight_bits(value: Any, recipe: Recipe) -> Changes:
    return WEIGHTS_IN_BITS[8] if value else {}


def _of_adapter(value: Any, recipe: Recipe) -> Changes:
    return {"load_in_4bit": True, "load_in_8bit": False} if value == "qlora" else {"load_in_4bit": False}


def _of_loss(name: str) -> Callable[[Any, Recipe], Changes]:
    """Only one of the losses can be on, and each wants its own plugin."""

    def companions(value: Any, recipe: Recipe) -> Changes:
        if not value:
            return {}
        others = [plugin for plugin in recipe.plugins if plugin not in (LIGER_PLUGIN, CUT_CROSS_ENTROPY_PLUGIN)]
        plugin = _PLUGIN_OF_LOSS.get(name)
        rest = {other: off for other, off in NO_LOSS.items() if other != name}
        precision = half_precision_written(recipe) if plugin == CUT_CROSS_ENTROPY_PLUGIN else {}
        return {**rest, "plugins": (*others, plugin) if plugin else tuple(others), **precision}

    return companions


_COMPANIONS: Mapping[str, Callable[[Any, Recipe], Changes]] = {
    "load_in_4bit": _of_four_bits,
    "load_in_8bit": _of_eight_bits,
    "adapter": _of_adapter,
    "activation_offloading": lambda value, recipe: {"gradient_checkpointing": True} if value else {},
    "gradient_checkpointing": lambda value, recipe: {} if value else {"activation_offloading": False},
    "attn_implementation": lambda value, recipe: dict.fromkeys(ATTENTION_OF_FLAG, False),
    "fp16": lambda value, recipe: {"bf16": False} if value else {"bf16": "auto"},
    "bf16": lambda value, recipe: {"fp16": False} if value else {},
    **{name: _of_loss(name) for name in NO_LOSS},
}
