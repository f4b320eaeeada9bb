"""Axolotl's fused LoRA kernels: on where the file says so, and where it says nothing and nothing speaks against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_explorer.settings.adapter import ADAPTERS

LORA_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def kernels_turn_on(values: Mapping[str, Any]) -> bool:
    """Whether Axolotl turns all four on by itself. The model's family, which it looks at later, is not looked at."""
    return (
        values.get("adapter") in ADAPTERS
        and not (values.get("adapter") == "lora" and values.get("load_in_8bit"))
        and all(values.get(kernel) is None for kernel in LORA_KERNELS)
        and not any(values.get(key) for key in ("rl", "nvfp4_merge_aware", "trust_remote_code"))
    )


def kernel_is_on(values: Mapping[str, Any], kernel: str) -> bool:
    """Whether a fused kernel runs, set or turned on."""
    written = values.get(kernel)
    if kernel not in LORA_KERNELS or written is not None:
        return bool(written) and (kernel not in LORA_KERNELS or bool(values.get("adapter")))
    return kernels_turn_on(values)
