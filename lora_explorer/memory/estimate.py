"""The memory figure: one training step traced on the meta device and replayed through the CUDA caching allocator."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import TYPE_CHECKING

from torch import nn

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory.cards import WORKSPACE_BYTES, Card, cards
from lora_explorer.memory.layers import Stack, layer_kinds, shallow_stack, whole_stack
from lora_explorer.memory.optimizers import TrainedTensor, trace_optimizer, trained_tensors
from lora_explorer.memory.prepared_model import Adapter, Everything, base_of, layer_of, prepare, residents
from lora_explorer.memory.result import CardFit, MemoryEstimate
from lora_explorer.memory.run_plan import assumptions, step_from
from lora_explorer.memory.step import Step
from lora_explorer.memory.timeline import Replay, Timeline, assemble, parts_at, replay
from lora_explorer.memory.trace import Resident, Trace
from lora_explorer.memory.tracing import trace_step
from lora_explorer.memory.unrolling import CannotUnroll, unroll, unroll_residents
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Context of a card that was not named (reported for A100 and H100: 400 to 600 MiB).
USUAL_CONTEXT_BYTES = 500 << 20

# What running a model's own code without values can raise, seen over all causal language models of transformers.
TRACE_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip

# Settings that no storage depends on.
WEIGHTLESS = (
    "learning_rate", "lr_scheduler", "warmup_steps", "warmup_ratio", "weight_decay", "num_epochs", "max_steps", "seed",
    "loraplus_lr_ratio", "loraplus_lr_embedding", "tf32",
)  # fmt: skip

_tracing = RLock()


@dataclass(frozen=True)
class RecipeAdapter:
    """The adapter of a recipe, injected by PEFT."""

    recipe: Recipe

    def inject(self, model: PreTrainedModel) -> nn.Module:
        adapted: nn.Module = inject_adapter(self.recipe, model)
        return adapted

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        kinds: list[set[Hashable]] = [set() for _ in range(skeleton.num_layers)]
        for module in plan_adapter(self.recipe, skeleton).modules:
            if module.layer is not None:
                kinds[module.layer].add((module.path.partition(f".{module.layer}.")[2], module.r, module.via))
        return [frozenset(kind) for kind in kinds]


@dataclass(frozen=True)
class TracedRun:
    """A traced step of the whole model, with what it needs around it."""

    residents: tuple[Resident, ...]
    trained: tuple[TrainedTensor, ...]
    trace: Trace
    stack: Stack


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


def trace_run(skeleton: Skeleton, step: Step, adapter: Adapter, *, full_depth: bool = False) -> TracedRun:
    """Trace one step. Falls back to every layer where a few cannot stand for all. Raises MemoryUnknown."""
    with _tracing:
        whole = whole_stack(skeleton.num_layers)
        kinds = list(zip(layer_kinds(skeleton), adapter.layer_kinds(skeleton), strict=True))
        shallow = shallow_stack(kinds)
        if full_depth or shallow.is_whole:
            return _trace(skeleton, whole, step, adapter)
        try:
            return _trace(skeleton, shallow, step, adapter)
        except (CannotUnroll, MemoryUnknown):
            return _trace(skeleton, whole, step, adapter)


def timeline_of(run: TracedRun, step: Step, workspace_bytes: int) -> Timeline:
    """Loading and two steps of a traced run."""
    optimizer = trace_optimizer(step.optimizer, run.trained, clips_gradients=step.clips_gradients)
    return assemble(run.residents, run.trace, optimizer, loading=step.loading, workspace_bytes=workspace_bytes)


def _trace(skeleton: Skeleton, stack: Stack, step: Step, adapter: Adapter) -> TracedRun:
    container = skeleton.layer_paths[0].rpartition(".")[0] if skeleton.layer_paths else ""
    try:
        model = prepare(skeleton, stack, step, adapter)
        layers = {number: base_of(model).get_submodule(skeleton.layer_paths[number]) for number in stack.kept}
        trace = trace_step(model, layers, step)
    except ExplorerError:
        raise
    except TRACE_FAILURES as error:
        raise MemoryUnknown(_sentence(skeleton, error), setting="base_model") from error
    held = residents(model, container, step)
    return TracedRun(
        tuple(unroll_residents(held, stack)), _trained(model, container, stack), unroll(trace, stack), stack
    )


def _trained(model: nn.Module, container: str, stack: Stack) -> tuple[TrainedTensor, ...]:
    named = [(path, parameter) for path, parameter in model.named_parameters() if parameter.requires_grad]
    placed = list(zip((layer_of(path, container) for path, _ in named), trained_tensors(named), strict=True))
    outside = [tensor for layer, tensor in placed if layer is None]
    inside = [tensor for like in stack.stands_in for layer, tensor in placed if layer == like]
    return (*inside, *outside)


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


def _sentence(skeleton: Skeleton, error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (
        f"The memory of this {skeleton.config.model_type} model is not known: a training step with these settings "
        f"cannot be run without values ({type(error).__name__}: {text[0] if text else 'no reason given'})."
    )


def _what_matters(recipe: Recipe) -> Recipe:
    """The recipe without what moves no byte, so that it is a better cache key."""
    return recipe.model_copy(update={name: Recipe.model_fields[name].default for name in WEIGHTLESS})
