"""The memory figure: one training step traced on the meta device and replayed through the CUDA caching allocator."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory.cards import USUAL_CONTEXT_BYTES, WORKSPACE_BYTES, Card, cards
from lora_explorer.memory.explanation import explain
from lora_explorer.memory.kernels.fused_kernels import Kernel, kernels_refused
from lora_explorer.memory.kernels.recurrence import recurrence_words
from lora_explorer.memory.measured_error import spare_bytes_to_be_sure
from lora_explorer.memory.plan.optimizers import managed_bytes
from lora_explorer.memory.plan.parallel_plan import ParallelPlan
from lora_explorer.memory.plan.run_plan import assumptions, step_from
from lora_explorer.memory.replay.timeline import Replay, replay_on_devices
from lora_explorer.memory.result import CardFit, MemoryEstimate, Stretch
from lora_explorer.memory.runs.races import typical_run
from lora_explorer.memory.runs.run_families import run_of
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun
from lora_explorer.memory.tracing.events import Timeline
from lora_explorer.memory.tracing.layers import Stack
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.settings import Recipe

# Settings that no storage depends on.
WEIGHTLESS = (
    "learning_rate", "lr_scheduler", "warmup_steps", "warmup_ratio", "weight_decay", "num_epochs", "max_steps", "seed",
    "loraplus_lr_ratio", "loraplus_lr_embedding", "tf32",
)  # fmt: skip


def estimate_memory(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card | None = None,
    full_depth: bool = False,
    expandable_segments: bool = True,
    parallel: ParallelPlan | None = None,
) -> MemoryEstimate:
    """Trace and replay one training step of `micro_batch_size` x `sequence_len` tokens.

    card: the GPU whose kernels, workspaces and context count; without one an Ampere card is assumed.
    full_depth: trace every layer, not one of each kind. expandable_segments: of PYTORCH_ALLOC_CONF, which Axolotl
    turns on where the environment says nothing else (axolotl/utils/__init__.py). parallel: GPUs that share the step;
    the figures are those of one of them.
    Raises MemoryUnknown, AdapterRefused, UnknownBaseModel.
    """
    return _estimate(
        _what_matters(recipe),
        base_model,
        card,
        full_depth=full_depth,
        expandable_segments=expandable_segments,
        parallel=parallel or ParallelPlan(),
    )


@lru_cache(maxsize=256)
def _estimate(
    recipe: Recipe,
    base_model: BaseModel,
    card: Card | None,
    *,
    full_depth: bool,
    expandable_segments: bool,
    parallel: ParallelPlan,
) -> MemoryEstimate:
    step = parallel.spread(step_from(recipe, card))
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    skeleton = load_skeleton(base_model)
    run = run_of(skeleton, step, adapter, full_depth=full_depth)
    workspace_bytes = card.workspace_bytes if card else WORKSPACE_BYTES
    timeline, result = typical_run(run, step, workspace_bytes, expandable_segments=expandable_segments)
    taken_for_granted = (
        *assumptions(
            recipe,
            step,
            card,
            has_experts=_has_experts(skeleton),
            kernels_refused=_kernels_refused(skeleton, step.fused_lora),
            managed_bytes=managed_bytes(step.optimizer, run.trained),
        ),
        *recurrence_words(skeleton),
        _ALLOCATOR_WORDS[expandable_segments],
        *parallel.words,
    )
    return _explained(run, timeline, result, card, taken_for_granted, expandable_segments=expandable_segments)


def _explained(
    run: TracedRun,
    timeline: Timeline,
    result: Replay,
    card: Card | None,
    taken_for_granted: tuple[str, ...],
    *,
    expandable_segments: bool,
) -> MemoryEstimate:
    num_layers = len(run.stack.stands_in)
    peak, parts, largest, curve = explain(timeline, result, num_layers)
    context = card.context_bytes if card else USUAL_CONTEXT_BYTES
    return MemoryEstimate(
        allocated_after_load_bytes=result.after_load_bytes,
        peak_forward_bytes=result.peaks_bytes["forward"],
        peak_backward_bytes=result.peaks_bytes["backward"],
        peak_optimizer_bytes=result.peaks_bytes["optimizer"],
        peak_allocated_bytes=result.peak_allocated_bytes,
        peak_reserved_bytes=result.peak_reserved_bytes,
        process_bytes=result.peak_reserved_bytes + context,
        parts=parts,
        peak=peak,
        assumptions=taken_for_granted,
        fits=tuple(_fits(timeline, result, num_layers, expandable_segments=expandable_segments)),
        method=_method(run.stack),
        largest=largest,
        curve=curve,
    )


def _fits(timeline: Timeline, unhindered: Replay, num_layers: int, *, expandable_segments: bool) -> Iterator[CardFit]:
    """Every card's verdict, the outcome of a replay with its capacity."""
    capacities = [card.capacity_bytes for card in cards()]
    verdicts = replay_on_devices(timeline, unhindered, capacities, expandable_segments=expandable_segments)
    for card, full in zip(cards(), verdicts, strict=True):
        headroom = card.capacity_bytes - unhindered.peak_reserved_bytes
        if headroom >= 0:  # A device that is never full behaves as one without a limit.
            sure = headroom >= spare_bytes_to_be_sure(unhindered.peak_reserved_bytes + card.context_bytes)
            yield CardFit(card.name, card.memory_bytes, True, headroom, "fits" if sure else "tight")
        elif full.failed is None:
            left = card.capacity_bytes - full.peak_reserved_bytes
            yield CardFit(card.name, card.memory_bytes, True, left, "tight", gives_cache_back=True)
        else:
            where = Stretch(full.failed.phase, full.failed.place, full.failed.layer, num_layers)
            yield CardFit(card.name, card.memory_bytes, False, headroom, "does not fit", failed_in=where)


@lru_cache(maxsize=16)
def _kernels_refused(skeleton: Skeleton, kernels: frozenset[Kernel]) -> str | None:
    """Looks at every layer, which takes longer than all else once a step is traced."""
    return kernels_refused(skeleton, kernels)


@lru_cache(maxsize=16)
def _has_experts(skeleton: Skeleton) -> bool:
    """Fused expert weights are the only three-dimensional parameters outside convolutions."""
    with skeleton.lock:
        return any(p.dim() == 3 and "expert" in path for path, p in skeleton.model.named_parameters())


def _method(stack: Stack) -> str:
    layers = len(stack.stands_in)
    if stack.is_whole:
        return f"One training step traced on the meta device through all {layers} layers, replayed by the allocator."
    return (
        f"One training step traced on the meta device through {len(stack.kept)} of {layers} layers, "
        "written out to all of them, replayed by the allocator."
    )


def _what_matters(recipe: Recipe) -> Recipe:
    """The recipe without what moves no byte, so that it is a better cache key."""
    return recipe.model_copy(update={name: Recipe.model_fields[name].default for name in WEIGHTLESS})


_ALLOCATOR_WORDS = {
    True: "The allocator's segments expand, which Axolotl turns on unless PYTORCH_ALLOC_CONF says otherwise.",
    False: "The allocator's segments do not expand: PYTORCH_ALLOC_CONF=expandable_segments:False.",
}
