"""The device that a preview runs on: which it is, which types it computes in, and what it holds."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import psutil

from lora_explorer.memory.cards import Card, card_like
from lora_explorer.memory.plan.step import DType
from lora_explorer.preview.models.weights import Device
from lora_explorer.settings import Recipe

# Apple's GPUs compute in bfloat16 from this release of macOS on.
_BF16_MACOS = (14, 0)
_PACKAGES = (
    "lora-explorer",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "tokenizers",
    "safetensors",
    "numpy",
)


class Precision(NamedTuple):
    """The type of weights and products. note: a sentence where the recipe means another one."""

    dtype: DType
    note: str | None = None


def find_device() -> Device:
    """The best device that PyTorch can use here."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def card_of_device() -> Card:
    """The first CUDA device as a card."""
    import torch

    found = torch.cuda.get_device_properties(0)
    return card_like(found.name, int(found.total_memory), (found.major, found.minor))


def precision_on(device: Device, recipe: Recipe) -> Precision:
    """What the recipe's `bf16` and `fp16` come to on a device."""
    if device == "cuda":
        return _on_cuda(recipe)
    return _on_mps(recipe) if device == "mps" else _on_cpu(recipe)


def _on_cuda(recipe: Recipe) -> Precision:
    can_bf16 = card_of_device().bf16
    if recipe.bf16 is True or (recipe.bf16 == "auto" and not recipe.fp16):
        return Precision("bfloat16") if can_bf16 else Precision("float16", "This GPU has no bfloat16: it is float16.")
    return Precision("float16" if recipe.fp16 else "float32")


def _on_mps(recipe: Recipe) -> Precision:
    import torch

    if recipe.bf16 and not recipe.fp16 and torch.backends.mps.is_macos_or_newer(*_BF16_MACOS):
        return Precision("bfloat16")
    asked = recipe.bf16 or recipe.fp16
    return Precision("float32", "On this GPU the preview computes in float32." if asked else None)


def _on_cpu(recipe: Recipe) -> Precision:
    """Half precision without instructions for it is many times slower than float32."""
    if recipe.fp16:
        return Precision("float32", "A CPU does not train in float16: the preview computes in float32.")
    if recipe.bf16 is True and not has_native_bf16():
        return Precision("float32", "This CPU has no bfloat16 instructions: the preview computes in float32.")
    if recipe.bf16 is True:
        return Precision("bfloat16")
    return Precision("float32", "`bf16: auto` means float32 on a CPU." if recipe.bf16 == "auto" else None)


def has_native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    import torch

    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def memory_bytes(device: Device) -> int:
    """On CUDA the most allocated since the counter was reset, on MPS what is allocated, on a CPU the process."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return torch.mps.current_allocated_memory() if device == "mps" else int(psutil.Process().memory_info().rss)


def reset_memory(device: Device) -> None:
    """Begin the count of the next step."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def device_words(device: Device) -> str:
    """The device in words for people."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name(0)
    if device == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"


def environment(device: Device) -> dict[str, Any]:
    """What a run depends on besides its request: versions, device and threads."""
    import torch

    return {
        "python": sys.version.partition(" ")[0],
        "system": f"{platform.system()} {platform.machine()}",
        "device": device_words(device),
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
