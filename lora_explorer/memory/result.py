"""What an estimate says: plain, frozen, and adding up. Knows no tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CardFit:
    """headroom_bytes: capacity less the process's peak; negative where it does not fit."""

    gpu: str
    capacity_bytes: int
    fits: bool
    headroom_bytes: int


@dataclass(frozen=True)
class MemoryEstimate:
    """What a run needs on one GPU.

    allocated: bytes in blocks, as torch.cuda.max_memory_allocated. reserved: bytes in segments. process: reserved and
    CUDA context. parts: what is there at the peak, adding up to peak_allocated_bytes. peak_phase, peak_layer: when.
    """

    allocated_after_load_bytes: int
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_optimizer_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    process_bytes: int
    parts: tuple[tuple[str, int], ...]
    peak_phase: str
    peak_layer: int | None
    assumptions: tuple[str, ...]
    fits: tuple[CardFit, ...]
    method: str
