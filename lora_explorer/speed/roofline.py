"""How long a step takes at given rates: every kernel as long as the slower of its computing and its moving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.watching.work import FROM_HOST, TO_HOST
from lora_explorer.speed.rates import Rates
from lora_explorer.speed.result import LimitedBy
from lora_explorer.speed.step_work import Amounts, StepWork

_COPIES = (TO_HOST, FROM_HOST)
_STAGES_OF_COPIES = ("forward", "backward")
_BY_MOVING = "elementwise operations and copies"
# By the beginning of the kernel's name; what is left multiplies matrices, or only moves.
_KINDS = {
    "attention": "attention",
    "dequantize": "unpacking quantized weights",
    "int8_mm_dequant": "unpacking quantized weights",
    "int8_vectorwise": "unpacking quantized weights",
}


@dataclass(frozen=True, eq=False)
class DeviceTime:
    """Seconds on a device that reaches its data sheet.

    seconds: (operations,) of all runs of each kernel, without copies over the link. products_share: of them, those in
    kernels that the products limit. copy_seconds: how much longer copies to and from the host make the step.
    """

    work: StepWork
    seconds: Amounts
    products_seconds: float
    copy_seconds: float

    @cached_property
    def total_seconds(self) -> float:
        return float(self.seconds.sum()) + self.copy_seconds

    @property
    def kernels(self) -> int:
        """Launches in the step."""
        return int(self.work.runs.sum())

    def by_stage(self) -> Mapping[str, float]:
        """Seconds of forward passes, recomputation, backward passes and the optimizer."""
        return _summed([operation.stage for operation in self.work.operations], self.seconds)

    def by_kind(self) -> Mapping[str, float]:
        """Seconds by what kernels do."""
        names = [
            _kind(operation.name, is_product=flops > 0)
            for operation, flops in zip(self.work.operations, self.work.flops, strict=True)
        ]
        return _summed(names, self.seconds)

    @property
    def limited_by(self) -> LimitedBy:
        """What limits most of the time."""
        return "products" if 2 * self.products_seconds > self.total_seconds else "memory"


def device_time(work: StepWork, step: Step, rates: Rates) -> DeviceTime:
    """The time of a step's kernels, one after the other as on one stream."""
    rate = np.array([rates.products.get(operation.number_type, np.inf) for operation in work.operations])
    computing, moving = work.flops / rate, work.moved_bytes / rates.memory
    copies = np.array([operation.name in _COPIES for operation in work.operations])
    seconds = np.where(copies, 0.0, np.maximum(computing, moving) * work.runs)
    products = float(seconds[computing > moving].sum())
    return DeviceTime(work, seconds, products, _copy_seconds(work, seconds, step, rates) if copies.any() else 0.0)


def _copy_seconds(work: StepWork, seconds: Amounts, step: Step, rates: Rates) -> float:
    """How much longer copies make the step: those on a stream of their own run beside the kernels of their stages."""
    if rates.host_link is None:
        return 0.0
    copying, computing = (dict.fromkeys(_STAGES_OF_COPIES, 0.0) for _ in range(2))
    for operation, taken, moved in zip(work.operations, seconds, work.moved_bytes * work.runs, strict=True):
        # What is computed again is computed on the way back.
        way = "forward" if operation.stage == "forward" else "backward"
        if operation.name in _COPIES:
            copying[way] += moved / rates.host_link
        elif operation.stage != "optimizer":
            computing[way] += taken
    if step.offloading == "synchronous":
        return sum(copying.values())
    return sum(max(copying[way] - computing[way], 0.0) for way in _STAGES_OF_COPIES)


def _summed(names: list[str], seconds: Amounts) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in zip(names, seconds.tolist(), strict=True):
        found[name] = found.get(name, 0.0) + value
    return {name: value for name, value in sorted(found.items(), key=lambda item: -item[1]) if value}


@cache
def _kind(name: str, *, is_product: bool) -> str:
    known = next((kind for beginning, kind in _KINDS.items() if name.startswith(beginning)), None)
    return known or ("matrix products" if is_product else _BY_MOVING)
