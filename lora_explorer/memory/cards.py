"""GPUs a configuration can be held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import yaml

from lora_explorer import presets
from lora_explorer.errors import ExplorerError

# cuBLAS workspace of one handle (aten/cuda/CUDAContextLight: 2 x 4 MiB and 8 x 16 KiB; 32 MiB from Hopper on).
WORKSPACE_BYTES = 8_519_680
LARGE_WORKSPACE_BYTES = 32 << 20
_LARGE_WORKSPACE = frozenset({"Hopper", "Blackwell"})
_BEFORE_FLASH = frozenset({"Pascal", "Volta", "Turing"})


@dataclass(frozen=True)
class Card:
    """A GPU. memory_bytes: what CUDA can hand out. context_bytes: the CUDA context, outside the caching allocator.

    bf16: whether its tensor cores take bfloat16. source: where the figures come from.
    """

    name: str
    memory_bytes: int
    context_bytes: int
    bandwidth_gb_per_s: float
    bf16_tflops: float
    bf16: bool
    architecture: str
    source: str

    @property
    def capacity_bytes(self) -> int:
        """What the caching allocator can take."""
        return self.memory_bytes - self.context_bytes

    @property
    def workspace_bytes(self) -> int:
        """Of one cuBLAS handle."""
        return LARGE_WORKSPACE_BYTES if self.architecture in _LARGE_WORKSPACE else WORKSPACE_BYTES

    @property
    def flash_attention(self) -> bool:
        """Whether FlashAttention-2 kernels run on it: compute capability 8.0 and later."""
        return self.architecture not in _BEFORE_FLASH


@lru_cache(maxsize=1)
def cards() -> tuple[Card, ...]:
    """The cards of presets/gpus.yml, in its order."""
    entries = yaml.safe_load((presets.folder() / "gpus.yml").read_text(encoding="utf-8"))
    return tuple(Card(**entry) for entry in entries)


def find_card(name: str) -> Card:
    """A card by its name, in any case, or by the only name that begins so. Raises ExplorerError for any other."""
    wanted = name.strip().casefold()
    begun = [card for card in cards() if wanted and card.name.casefold().startswith(wanted)]
    exact = [card for card in begun if card.name.casefold() == wanted]
    if len(exact or begun) == 1:
        return (exact or begun)[0]
    known = ", ".join(card.name for card in begun or cards())
    problem = "is the beginning of several cards" if begun else "is not in presets/gpus.yml"
    raise ExplorerError(f"--gpu {name!r} {problem}; choose one of: {known}.")
