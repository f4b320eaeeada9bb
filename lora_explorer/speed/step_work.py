"""The work of one optimizer step of the whole model: every kernel, how often it runs, what it computes and moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from lora_explorer.memory.plan.known_optimizers import OPTIMIZERS
from lora_explorer.memory.plan.optimizers import TrainedTensor, work_of_step
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import TracedRun
from lora_explorer.memory.watching.work import Operation

Amounts = NDArray[np.float64]
# Tensors that one launch takes of an optimizer that takes many (aten/native/cuda/MultiTensorApply.cuh).
_TENSORS_OF_A_LAUNCH = 36
_FUSED = "adamw_torch_fused"


@dataclass(frozen=True, eq=False)
class StepWork:
    """Kernels of a step, each with how often it runs in it, and what one run computes and moves.

    runs, flops, moved_bytes: (operations,).
    """

    operations: tuple[Operation, ...]
    runs: Amounts
    flops: Amounts
    moved_bytes: Amounts

    @property
    def total_flops(self) -> int:
        """Multiplications and additions of matrix products, convolutions and attention."""
        return _total(self.flops, self.runs)

    @property
    def total_bytes(self) -> int:
        """Read from and written to the device's memory, as if no cache kept anything between two kernels."""
        return _total(self.moved_bytes, self.runs)


def _total(amounts: Amounts, runs: Amounts) -> int:
    """Whole, as sums of large whole numbers in floating point would not be."""
    return sum(round(amount) * int(times) for amount, times in zip(amounts.tolist(), runs.tolist(), strict=True))


def work_of_whole_step(
    run: TracedRun, step: Step, *, micro_batches: int = 1, document_tokens: int | None = None
) -> StepWork:
    """Forward and backward passes of so many micro-batches, and one step of the optimizer.

    document_tokens: of each document in a packed row; None for rows of one document. Raises MemoryUnknown.
    """
    parts = [
        _of_passes(run, micro_batches, document_tokens),
        *_of_gradients(run.trained, step),
        *_of_optimizer(step.optimizer, run.trained),
    ]
    operations = tuple(operation for part in parts for operation in part.operations)
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("runs", "flops", "moved_bytes"))
    return StepWork(operations, *arrays)


def _of_passes(run: TracedRun, micro_batches: int, document_tokens: int | None) -> StepWork:
    work = run.work
    flops = work.flops.astype(float)
    for position, operation in enumerate(work.operations):
        if operation.attends is not None:
            flops[position] *= operation.attends.pairs(int(work.tokens[position]), document_tokens)
    runs = (run.repeats * micro_batches).astype(float)
    return StepWork(work.operations, runs, flops, work.bytes_of_operations.astype(float))


def _of_optimizer(name: str, trained: Sequence[TrainedTensor]) -> Iterator[StepWork]:
    """Some take many tensors with one launch, others one after the other."""
    for work, tensors in work_of_step(name, trained):
        launches = -(-tensors // _TENSORS_OF_A_LAUNCH) if _takes_many(name) else tensors
        runs = np.full(len(work.operations), float(launches))
        share = tensors / launches
        flops, moved = work.flops.astype(float), work.bytes_of_operations.astype(float)
        yield StepWork(work.operations, runs, flops * share, moved * share)


def _takes_many(name: str) -> bool:
    return name == _FUSED or OPTIMIZERS[name].order == "together"


def _of_gradients(trained: Sequence[TrainedTensor], step: Step) -> Iterator[StepWork]:
    """Passes over all gradients: their norm and its scaling, and before them the loss scale of half precision."""
    gradients_bytes = float(sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in trained))
    passes = {
        "unscale_gradients": 2 if step.dtype == "float16" and step.autocast else 0,
        "gradient_norm": 1 if step.clips_gradients else 0,
        "clip_gradients": 2 if step.clips_gradients else 0,
    }
    launches = -(-len(trained) // _TENSORS_OF_A_LAUNCH)
    for name, times in passes.items():
        if times and launches:
            operation = Operation(name, None, "optimizer", -1, times)
            moved = np.array([times * gradients_bytes / launches])
            yield StepWork((operation,), np.array([float(launches)]), np.zeros(1), moved)
