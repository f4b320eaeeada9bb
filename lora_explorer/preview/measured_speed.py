"""How much of its data sheet a GPU reached in previews: written down when a run ends, read for estimates of others."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from lora_explorer.memory import Card
from lora_explorer.preview.events import Step
from lora_explorer.preview.run_folder import RunFolder, home
from lora_explorer.preview.step_memory.prediction import MicroBatch
from lora_explorer.speed import MeasuredEfficiency
from lora_explorer.speed.device_names import known_card

if TYPE_CHECKING:
    from lora_explorer.preview.plan import PreviewPlan
    from lora_explorer.speed.roofline import DeviceTime

_FILE = "speed"
# The first steps find caches cold, and the allocator without segments.
_FIRST_STEPS = 2
# Lengths that one trace stands for.
_ROUND_TOKENS = 64
# From this share of a step on, launching its kernels says more of the host than of the card.
_MOSTLY_HOST = 0.7
_TWENTIETHS = 20


def keep_efficiency(folder: RunFolder, plan: PreviewPlan) -> None:
    """Write down what the steps of a run on a GPU tell. Raises MemoryUnknown and AdapterRefused."""
    from lora_explorer.preview.step_memory.free_memory import find_gpu

    device = find_gpu().card
    card = known_card(device.name, device.memory_bytes)
    if card is None:
        return
    steps = [event for event in folder.events()[0] if isinstance(event, Step)]
    folder.write(_FILE, {"gpu": card.name, "shares": list(reached(plan, card, steps))})


def reached(plan: PreviewPlan, card: Card, steps: Sequence[Step]) -> Iterator[float]:
    """For each step that says something of the card, the share of its data sheet. Raises what tracing raises."""
    from lora_explorer.speed.measured_error import HOST_SECONDS_PER_KERNEL

    micro_batches = plan.gradient_accumulation_steps
    timed = lru_cache(maxsize=None)(partial(_timed, plan, card))
    for step in steps[_FIRST_STEPS:]:
        row = step.positions / (micro_batches * plan.micro_batch_size)
        if row < 1 or step.tokens_per_second <= 0:
            continue
        rounded = math.ceil(row / _ROUND_TOKENS) * _ROUND_TOKENS
        seconds, sheet = step.tokens / step.tokens_per_second, timed(rounded)
        if sheet.kernels * HOST_SECONDS_PER_KERNEL < _MOSTLY_HOST * seconds:
            yield sheet.total_seconds * row / rounded / seconds


def measured_efficiencies() -> Mapping[str, MeasuredEfficiency]:
    """What the runs that are kept tell, by the names of presets/gpus.yml."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for gpu, shares in _kept():
        found[gpu].append(shares)
    return {gpu: _together(gpu, runs) for gpu, runs in found.items()}


def _kept() -> Iterator[tuple[str, list[float]]]:
    with suppress(FileNotFoundError):
        for path in sorted((home() / "runs").iterdir()):
            record: Any = RunFolder(path).read(_FILE)
            shares = record.get("shares") if isinstance(record, dict) else None
            if isinstance(shares, list) and shares and all(isinstance(s, float) and s > 0 for s in shares):
                yield str(record.get("gpu")), shares


def _together(gpu: str, runs: Sequence[Sequence[float]]) -> MeasuredEfficiency:
    shares = [share for run in runs for share in run]
    cuts = quantiles(shares, n=_TWENTIETHS, method="inclusive") if len(shares) > 1 else shares
    return MeasuredEfficiency(gpu, median(shares), cuts[0], cuts[-1], len(shares), len(runs))


def _timed(plan: PreviewPlan, card: Card, tokens: int) -> DeviceTime:
    from lora_explorer.preview.step_memory.trainer_step import trace_micro_batch
    from lora_explorer.speed.rates import rates_of
    from lora_explorer.speed.roofline import device_time
    from lora_explorer.speed.step_work import work_of_whole_step

    run, step = trace_micro_batch(plan, MicroBatch(plan.micro_batch_size, tokens, is_padded=True))
    work = work_of_whole_step(run, step, micro_batches=plan.gradient_accumulation_steps)
    return device_time(work, step, rates_of(card, tf32=False))
