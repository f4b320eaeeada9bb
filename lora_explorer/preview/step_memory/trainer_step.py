"""A step of transformers' Trainer on a preview's device, traced without a byte of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.plan.optimizers import OptimizerTrace, StepEvents
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.replay.timeline import parts_at
from lora_explorer.memory.result import in_parts
from lora_explorer.memory.runs.races import typical_run
from lora_explorer.memory.runs.run_families import run_of
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.preview.step_memory.free_memory import find_gpu
from lora_explorer.preview.step_memory.host_optimizer import trace_host_optimizer
from lora_explorer.preview.step_memory.prediction import MicroBatch
from lora_explorer.preview.step_memory.step_timeline import StepMemory, StepTimeline
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.preview.plan import PreviewPlan

TraceRun = Callable[[Skeleton, Step, Adapter], TracedRun]
# Token ids, labels and mask, in this order; each token has 64 bits in each.
BATCH_TENSORS = 3
TOKEN_BYTES = 8
ROUND_TOKENS = 64


def preview_step(plan: PreviewPlan) -> Step:
    """The step as the Trainer runs it: the recipe's, without what only Axolotl's own kernels and losses do."""
    card = find_gpu().card if plan.device == "cuda" else None
    step = step_from(plan.recipe, card)
    return replace(
        step,
        micro_batch_size=plan.micro_batch_size,
        sequence_len=plan.sequence_len,
        loading="placed",
        dtype=plan.dtype,
        autocast=plan.dtype != "float32",
        quantization=step.quantization if plan.quantized else None,
        kbit_preparation=step.kbit_preparation and plan.quantized,
        attention=step.attention if step.attention in (None, "eager", "sdpa") else "sdpa",
        packed=False,
        loss="plain",
        offloading=None,
        fused_lora=frozenset(),
        # The Trainer takes the norm of the gradients also where it is not limited.
        clips_gradients=True,
        accumulates=plan.gradient_accumulation_steps > 1,
        waiting_batches=plan.gradient_accumulation_steps - 1,
        kernels="cuda" if card else "host",
    )


def predict_step(
    plan: PreviewPlan, batches: Sequence[MicroBatch], *, is_first: bool = False, trace: TraceRun = trace_run
) -> StepMemory:
    """One optimizer step over these micro-batches.

    is_first: it makes the optimizer's states. trace: `run_of` is quicker where many shapes of one model are asked for.
    Raises MemoryUnknown and AdapterRefused.
    """
    step, skeleton, adapter = preview_step(plan), _skeleton(plan), _adapter(plan.recipe)
    if plan.device == "cuda":
        largest = max(batches, key=lambda batch: batch.size)
        only = _step_of(step, largest, accumulates=len(batches) > 1)
        return _replayed(trace(skeleton, only, adapter), only)
    decisive = _decisive(batches)
    finds_gradients = len(batches) > len(decisive) == 1
    steps = [_step_of(step, batch, accumulates=finds_gradients or number > 0) for number, batch in enumerate(decisive)]
    runs = [trace(skeleton, each, adapter) for each in steps]
    others = sum(batch.size for batch in batches) - sum(batch.size for batch in decisive)
    found = _Found(states=not is_first, gradients=finds_gradients, batch_tokens=others)
    return _followed(runs, trace_host_optimizer(step.optimizer, runs[0].trained, plan.recipe.weight_decay), found)


def predict_largest_step(plan: PreviewPlan) -> StepMemory:
    """A step in which every row is as long as it may be."""
    # On a GPU rows are filled up to a round length, as trainer.py has it.
    tokens = plan.sequence_len if plan.device == "cpu" else -(-plan.sequence_len // ROUND_TOKENS) * ROUND_TOKENS
    batch = MicroBatch(plan.micro_batch_size, tokens, is_padded=True)
    return predict_step(plan, [batch] * plan.gradient_accumulation_steps, trace=run_of)


def trace_micro_batch(plan: PreviewPlan, batch: MicroBatch) -> tuple[TracedRun, Step]:
    """The traced run of such a micro-batch, and its step: by law where the shapes of the model are known.

    Raises MemoryUnknown and AdapterRefused.
    """
    step = _step_of(preview_step(plan), batch, accumulates=plan.gradient_accumulation_steps > 1)
    return run_of(_skeleton(plan), step, _adapter(plan.recipe)), step


class _Found(NamedTuple):
    """What the first traced micro-batch finds: states and gradients, and tokens of batches that are held."""

    states: bool
    gradients: bool
    batch_tokens: int


def _followed(runs: Sequence[TracedRun], optimizer: OptimizerTrace, found: _Found) -> StepMemory:
    """Every storage as it is, which is what a CPU holds."""
    trained = runs[0].trained
    timeline = StepTimeline()
    timeline.hold(runs[0].residents)
    if found.states:
        timeline.find(_states_bytes(optimizer.first), "optimizer states")
    if found.gradients:
        timeline.find((prod(tensor.shape) * tensor.dtype.itemsize for tensor in trained), "gradients")
    timeline.find([found.batch_tokens * BATCH_TENSORS * TOKEN_BYTES], "saved activations")
    for run in runs:
        # The loop drops the loss when a backward pass is over; batches stay until the step is.
        timeline.extend(run.part, [number for number in run.part.finish if number >= BATCH_TENSORS])
    timeline.update(optimizer.clipping)
    timeline.update(optimizer.later if found.states else optimizer.first)
    return timeline.memory()


def _replayed(run: TracedRun, step: Step) -> StepMemory:
    """Through CUDA's caching allocator, with loading and the first step before."""
    card = find_gpu().card
    # As the worker's environment has it (process.py).
    timeline, result = typical_run(run, step, card.workspace_bytes, expandable_segments=True)
    parts = parts_at(timeline, result.peak_position, result.peak_allocated_bytes)
    figures = Figures(
        allocated_after_load_bytes=result.after_load_bytes,
        peak_forward_bytes=result.peaks_bytes["forward"],
        peak_backward_bytes=result.peaks_bytes["backward"],
        peak_optimizer_bytes=result.peaks_bytes["optimizer"],
        peak_allocated_bytes=result.peak_allocated_bytes,
        peak_reserved_bytes=result.peak_reserved_bytes,
        process_bytes=result.peak_reserved_bytes + card.context_bytes,
    )
    return StepMemory(figures, in_parts(parts.items()))


def _decisive(batches: Sequence[MicroBatch]) -> Sequence[MicroBatch]:
    """The largest of the micro-batches that find gradients, after the first one where that is larger still."""
    first, *later = batches
    largest = max(later, key=lambda batch: batch.size, default=first)
    return [largest] if later and largest.size >= first.size else [first, *([largest] if later else [])]


def _states_bytes(first: StepEvents) -> Iterator[int]:
    states = zip(first.sizes_bytes, first.categories, strict=True)
    return (size for size, category in states if category == "optimizer states")


def _step_of(step: Step, batch: MicroBatch, *, accumulates: bool) -> Step:
    return replace(
        step,
        micro_batch_size=batch.rows,
        sequence_len=batch.tokens,
        padded=batch.is_padded,
        accumulates=accumulates,
    )


def _adapter(recipe: Recipe) -> Adapter:
    return RecipeAdapter(recipe) if recipe.adapter else Everything()


def _skeleton(plan: PreviewPlan) -> Skeleton:
    """Of what is really trained: another model may stand in, or fewer layers."""
    return load_skeleton(plan.source.base_model)
