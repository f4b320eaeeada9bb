"""The memory figure: one training step traced on the meta device and replayed through the CUDA caching allocator."""

from __future__ import annotations

from functools import lru_cache

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory.cards import WORKSPACE_BYTES, Card, cards
from lora_explorer.memory.events import Timeline
from lora_explorer.memory.layers import Stack
from lora_explorer.memory.prepared_model import Adapter, Everything
from lora_explorer.memory.result import CardFit, MemoryEstimate
from lora_explorer.memory.run_plan import assumptions, step_from
from lora_explorer.memory.timeline import Replay, parts_at, replay
from lora_explorer.memory.traced_run import RecipeAdapter, timeline_of, trace_run
from lora_explorer.settings import Recipe

# Context of a card that was not named (reported for A100 and H100: 400 to 600 MiB).
USUAL_CONTEXT_BYTES = 500 << 20

# Settings that no storage depends on.
WEIGHTLESS = (
    "learning_rate", "lr_scheduler", "warmup_steps", "warmup_ratio", "weight_decay", "num_epochs", "max_steps", "seed",
    "loraplus_lr_ratio", "loraplus_lr_embedding", "tf32",
)  # fmt: skip


def estimate_memory(
    recipe: Recipe, base_model: BaseModel, *, card: Card | None = None, full_depth: bool = False
) -> MemoryEstimate:
    """Trace and replay one training step of `micro_batch_size` x `sequence_len` tokens.

    card: the GPU whose kernels, workspaces and context count; without one an Ampere card is assumed.
    full_depth: trace every layer, not one of each kind. Raises MemoryUnknown, AdapterRefused, UnknownBaseModel.
    """
    return _estimate(_what_matters(recipe), base_model, card, full_depth)


@lru_cache(maxsize=256)
def _estimate(recipe: Recipe, base_model: BaseModel, card: Card | None, full_depth: bool) -> MemoryEstimate:  # noqa: FBT001 - lru_cache keys
    step = step_from(recipe, card)
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    skeleton = load_skeleton(base_model)
    run = trace_run(skeleton, step, adapter, full_depth=full_depth)
    timeline = timeline_of(run, step, card.workspace_bytes if card else WORKSPACE_BYTES)
    result = replay(timeline)
    context = card.context_bytes if card else USUAL_CONTEXT_BYTES
    return MemoryEstimate(
        allocated_after_load_bytes=result.after_load_bytes,
        peak_forward_bytes=result.peaks_bytes["forward"],
        peak_backward_bytes=result.peaks_bytes["backward"],
        peak_optimizer_bytes=result.peaks_bytes["optimizer"],
        peak_allocated_bytes=result.peak_allocated_bytes,
        peak_reserved_bytes=result.peak_reserved_bytes,
        process_bytes=result.peak_reserved_bytes + context,
        parts=tuple(parts_at(timeline, result.peak_position, result.peak_allocated_bytes).items()),
        peak_phase=result.peak_segment.phase,
        peak_layer=result.peak_segment.layer,
        assumptions=tuple(assumptions(recipe, step, card, has_experts=_has_experts(skeleton))),
        fits=tuple(_fit(timeline, result, each) for each in cards()),
        method=_method(run.stack),
    )


def _fit(timeline: Timeline, result: Replay, card: Card) -> CardFit:
    capacity = card.capacity_bytes
    headroom = capacity - result.peak_reserved_bytes
    fits = headroom >= 0
    if not fits and result.peak_allocated_bytes <= capacity:
        # Cached segments can be given back: only a replay on a card of this size tells.
        fits = replay(timeline, capacity).failed is None
        headroom = capacity - result.peak_allocated_bytes if fits else headroom
    return CardFit(card.name, card.memory_bytes, fits, headroom)


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
