"""What a card could do in a second by its data sheet."""

from __future__ import annotations

from dataclasses import dataclass

from lora_explorer.errors import SpeedUnknown
from lora_explorer.memory import Card
from lora_explorer.memory.watching.work import NumberType

_TERA = 1e12
_GIGA = 1e9
# Products of 8-bit numbers run at twice the rate of half-precision ones on tensor cores that have them.
_INT8_SINCE = (7, 5)
_TF32_SINCE = (8, 0)


@dataclass(frozen=True)
class Rates:
    """products: multiplications and additions a second by number type. memory, host_link: bytes a second.

    host_link: None where it is not known.
    """

    products: dict[NumberType, float]
    memory: float
    host_link: float | None


def rates_of(card: Card, *, tf32: bool) -> Rates:
    """tf32: products of float32 run on tensor cores, where there are any for it.

    Raises SpeedUnknown for a card whose rates are not published.
    """
    half, single, bandwidth = card.bf16_tflops, card.fp32_tflops, card.bandwidth_gb_per_s
    if half is None or single is None or bandwidth is None:
        raise SpeedUnknown(f"How fast {card.name} computes is not in presets/gpus.yml.")
    in_tf32 = tf32 and card.compute_capability is not None and card.reaches(_TF32_SINCE)
    # Half as fast as 16 bits (NVIDIA's data sheets since Ampere).
    float32 = half / 2 if in_tf32 else single
    products: dict[NumberType, float] = {
        "float16": half,
        # Before Ampere bfloat16 is emulated outside the tensor cores.
        "bfloat16": half if card.bf16 else single,
        "float32": max(float32, single),
        "float64": single / 2,
        "int8": half * 2 if card.reaches(_INT8_SINCE) else single,
    }
    link = card.host_link_gb_per_s
    return Rates(
        {name: rate * _TERA for name, rate in products.items()},
        bandwidth * _GIGA,
        None if link is None else link * _GIGA,
    )
