"""An estimate made by hand, for what is shown of one."""

from __future__ import annotations

from lora_explorer.memory import CardFit, MemoryEstimate
from lora_explorer.memory.result import CurvePoint, LargeStorage, Moment, Part, Phase, Place, Stretch, Verdict

GIB = 1 << 30
LAYERS = 4
PARTS: tuple[tuple[Part, int], ...] = (("base weights", 15 * GIB), ("adapter", GIB), ("logits and loss", 3 * GIB))
RESIDENT = PARTS[:2]


def at(phase: Phase, place: Place, layer: int | None = None) -> Moment:
    return Moment(phase, place, layer, LAYERS, 0 if phase == "load" else 2)


PEAK = at("backward", "head")
STRETCHES = (
    at("load", "embedding"),
    at("forward", "embedding"),
    *(at("forward", "layer", number) for number in range(LAYERS)),
    at("forward", "head"),
    PEAK,
    *(at("backward", "layer", number) for number in reversed(range(LAYERS))),
    at("backward", "embedding"),
    at("optimizer", "head"),
)


def fit(reserved_bytes: int, card_bytes: int = 24 * GIB) -> CardFit:
    left = card_bytes - reserved_bytes
    verdict: Verdict = "fits" if left > GIB else "tight" if left >= 0 else "does not fit"
    where = Stretch("backward", "layer", 2, LAYERS) if left < 0 else None
    return CardFit("RTX 4090", card_bytes, left >= 0, left, verdict, failed_in=where)


def estimate(reserved_bytes: int = 20 * GIB) -> MemoryEstimate:
    """One of four layers, whose peak is at the loss."""
    allocated = sum(size for _, size in PARTS)
    return MemoryEstimate(
        allocated_after_load_bytes=15 * GIB,
        peak_forward_bytes=allocated,
        peak_backward_bytes=allocated,
        peak_optimizer_bytes=16 * GIB,
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved_bytes,
        process_bytes=reserved_bytes + GIB,
        parts=PARTS,
        peak=PEAK,
        assumptions=("It is assumed.", ""),
        fits=(fit(reserved_bytes),),
        method="traced",
        largest=(LargeStorage("logits and loss", GIB, 3, at("forward", "head")),),
        curve=tuple(
            CurvePoint(moment, sum(size for _, size in parts), parts)
            for moment in STRETCHES
            for parts in [PARTS if moment.place == "head" and moment.phase != "optimizer" else RESIDENT]
        ),
    )
