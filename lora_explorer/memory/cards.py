"""GPUs a configuration can be held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lora_explorer import presets
from lora_explorer.errors import ExplorerError

# Workspace of one cuBLAS handle, taken from the caching allocator and shared with cuBLASLt (torch 2.13,
# aten/src/ATen/cuda/CublasHandlePool.cpp): 2 x 4 MiB and 8 x 16 KiB, but 32 MiB on compute capability 9, 10 and 12.
WORKSPACE_BYTES = 8_519_680
LARGE_WORKSPACE_BYTES = 32 << 20
_LARGE_WORKSPACE = frozenset({9, 10, 12})
# The same file for AMD: 32 MiB, and 128 MiB on CDNA 3 (gfx94x).
_WORKSPACE_ON_AMD = {"CDNA 2": 32 << 20, "CDNA 3": 128 << 20}
_FLASH_ATTENTION_SINCE = (8, 0)
# Context where nothing nearer is known (users of A100 and H100 report 400 to 600 MiB).
USUAL_CONTEXT_BYTES = 500 << 20

ContextSource = Literal["measured", "reported", "assumed"]


@dataclass(frozen=True)
class Card:
    """A GPU. memory_bytes: what CUDA can hand out. context_bytes: the CUDA context, outside the caching allocator.

    context_source: how well the context is known. bandwidth_gb_per_s, bf16_tflops, fp32_tflops, host_link_gb_per_s: of
    its memory, of dense products, and of the way to the host's memory; None where not published.
    bf16: whether its tensor cores take bfloat16. compute_capability: such as "8.0", None on AMD.
    source: where the figures come from.
    """

    name: str
    memory_bytes: int
    context_bytes: int
    context_source: ContextSource
    bandwidth_gb_per_s: float | None
    bf16_tflops: float | None
    fp32_tflops: float | None
    host_link_gb_per_s: float | None
    bf16: bool
    architecture: str
    compute_capability: str | None
    source: str

    @property
    def capacity_bytes(self) -> int:
        """What the caching allocator can take."""
        return self.memory_bytes - self.context_bytes

    @property
    def workspace_bytes(self) -> int:
        """Of one cuBLAS handle."""
        on_amd = _WORKSPACE_ON_AMD.get(self.architecture)
        if on_amd is not None:
            return on_amd
        return LARGE_WORKSPACE_BYTES if self._capability[0] in _LARGE_WORKSPACE else WORKSPACE_BYTES

    @property
    def flash_attention(self) -> bool:
        """Whether FlashAttention-2 kernels run on it: compute capability 8.0 and later, and AMD's CDNA."""
        return self.reaches(_FLASH_ATTENTION_SINCE)

    def reaches(self, capability: tuple[int, int]) -> bool:
        """Whether its compute capability is this or later; an AMD card, which has none, is not held back by it."""
        return self.compute_capability is None or self._capability >= capability

    @property
    def _capability(self) -> tuple[int, int]:
        major, _, minor = (self.compute_capability or "0.0").partition(".")
        return int(major), int(minor)


def card_like(name: str, memory_bytes: int, capability: tuple[int, int]) -> Card:
    """The card of a device that is there: what it says of itself, and the context of known cards of its kind."""
    text = f"{capability[0]}.{capability[1]}"
    alike = [card for card in cards() if card.compute_capability == text]
    nearest = max(alike, key=lambda card: (card.name in name, card.context_source != "assumed"), default=None)
    return Card(
        name=name,
        memory_bytes=memory_bytes,
        context_bytes=nearest.context_bytes if nearest else USUAL_CONTEXT_BYTES,
        context_source=nearest.context_source if nearest and nearest.name in name else "assumed",
        bandwidth_gb_per_s=None,
        bf16_tflops=None,
        fp32_tflops=None,
        host_link_gb_per_s=None,
        bf16=capability >= _FLASH_ATTENTION_SINCE,
        architecture=nearest.architecture if nearest else "unknown",
        compute_capability=text,
        source="the device itself",
    )


@lru_cache(maxsize=1)
def cards() -> tuple[Card, ...]:
    """The cards of presets/gpus.yml, in its order."""
    return tuple(Card(**entry) for entry in presets.facts("gpus"))


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
