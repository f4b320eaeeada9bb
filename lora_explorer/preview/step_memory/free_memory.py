"""How much memory there is for a run. A GPU is asked through its driver: a context of our own would take of it."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

from lora_explorer.memory.cards import Card, card_like
from lora_explorer.memory.measurement.host_memory import available_bytes as available_on_host
from lora_explorer.preview.models.weights import Device

_QUERY = (
    "nvidia-smi",
    "--id=0",
    "--query-gpu=name,memory.total,memory.free,compute_cap",
    "--format=csv,noheader,nounits",
)
_SECONDS = 10.0


class Gpu(NamedTuple):
    """The first CUDA device."""

    card: Card
    free_bytes: int


def available_bytes(device: Device) -> int:
    """What a process may still take there."""
    if device == "cuda":
        return find_gpu().free_bytes
    if device == "mps":
        import torch

        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return available_on_host()


def find_gpu() -> Gpu:
    """As its driver says, or as torch does where there is no nvidia-smi."""
    try:
        said = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
        name, total, free, capability = (word.strip() for word in said.splitlines()[0].split(","))
        major, minor = capability.split(".")
        return Gpu(card_like(name, int(total) << 20, (int(major), int(minor))), int(free) << 20)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return _as_torch_says()


def _as_torch_says() -> Gpu:
    import torch

    found = torch.cuda.get_device_properties(0)
    free, _ = torch.cuda.mem_get_info(0)
    return Gpu(card_like(found.name, int(found.total_memory), (found.major, found.minor)), free)
