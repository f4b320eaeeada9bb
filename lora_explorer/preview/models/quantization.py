"""Which quantization of the base model can be trained on a device, and what is done where it cannot."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.preview.models.weights import Device


def runnable_quantization(recipe: Recipe, device: Device) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the quantization that bitsandbytes can do on the device, and a sentence where that is another."""
    bits = quantized_bits(recipe)
    if bits is None or _has_backend(device):
        return recipe, ()
    plain = recipe.changed(adapter="lora", load_in_4bit=False, load_in_8bit=False)
    where = {"cpu": "this CPU", "mps": "this GPU", "cuda": "this GPU"}[device]
    return plain, (f"The base model is not quantized: bitsandbytes has no {bits}-bit kernels for {where}.",)


def quantized_bits(recipe: Recipe) -> Literal[4, 8] | None:
    """4 or 8 where Axolotl quantizes the base model; it does for these pairs only (axolotl/loaders/model.py)."""
    if recipe.adapter == "qlora" and recipe.load_in_4bit:
        return 4
    return 8 if recipe.adapter == "lora" and recipe.load_in_8bit else None


def _has_backend(device: Device) -> bool:
    """Whether the installed bitsandbytes names the device among those it supports."""
    if find_spec("bitsandbytes") is None:
        return False
    import bitsandbytes

    return device in getattr(bitsandbytes, "supported_torch_devices", ())
