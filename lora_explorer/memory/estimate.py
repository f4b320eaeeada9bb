"""The memory figure: one training step traced on the meta device and replayed through the CUDA caching allocator."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory.card_fits import Bench, CardKind, Played, card_fits
from lora_explorer.memory.cards import USUAL_CONTEXT_BYTES, WORKSPACE_BYTES, Card, cards
from lora_explorer.memory.explanation import explain
from lora_explorer.memory.kernels.fused_kernels import Kernel, kernels_refused
from lora_explorer.memory.kernels.recurrence import recurrence_words
from lora_explorer.memory.plan.card_requirements import why_it_cannot_run
from lora_explorer.memory.plan.optimizers import managed_bytes
from lora_explorer.memory.plan.parallel_plan import ParallelPlan
from lora_explorer.memory.plan.run_plan import assumptions, state_words, step_from
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.result import CardFit, MemoryEstimate
from lora_explorer.memory.runs.races import typical_run
from lora_explorer.memory.runs.run_families import family_at, run_of
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun
from lora_explorer.memory.tracing.layers import Stack
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything, packs_by_length
from lora_explorer.settings import Recipe

# Settings that no storage depends on.
WEIGHTLESS = (
    "learning_rate", "lr_scheduler", "warmup_steps", "warmup_ratio", "weight_decay", "num_epochs", "max_steps", "seed",
    "loraplus_lr_embedding", "tf32",
)  # fmt: skip


def estimate_memory(  # noqa: PLR0913 - every one of them moves bytes
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card | None = None,
    full_depth: bool = False,
    expandable_segments: bool = True,
    parallel: ParallelPlan | None = None,
    every_card: bool = True,
    beside: tuple[Card, ...] = (),
) -> MemoryEstimate:
    """Trace and replay one training step of `micro_batch_size` x `sequence_len` tokens.

    card: the GPU whose kernels, workspaces and context count; without one an Ampere card is assumed.
    full_depth: trace every layer, not one of each kind. expandable_segments: of PYTORCH_ALLOC_CONF, which Axolotl
    turns on where the environment says nothing else (axolotl/utils/__init__.py). parallel: GPUs that share the step;
    the figures are those of one of them. every_card: a verdict for each card there is, not for the given one alone;
    cards of another kind take a trace of their own. beside: a verdict for these too, where not for every card.
    Raises MemoryUnknown, AdapterRefused, UnknownBaseModel.
    """
    parallel = parallel or ParallelPlan()
    recipe = _what_matters(recipe)
    of_cards = cards() if every_card else tuple(dict.fromkeys((*((card,) if card else ()), *beside)))
    return _estimate(_Asked(recipe, base_model, card, full_depth, expandable_segments, parallel, of_cards))


def family_of(recipe: Recipe, base_model: BaseModel, card: Card | None = None) -> Hashable:
    """Equal for recipes whose estimates follow by law from each other's traces: these are best asked for in a row.

    Raises MemoryUnknown, UnknownBaseModel.
    """
    trial = _Trial(_what_matters(recipe), load_skeleton(base_model), _adapter_of(recipe), ParallelPlan())
    return base_model, family_at(trial.skeleton, trial.kind_of(card).step, trial.adapter)


def trace_one_step(recipe: Recipe, base_model: BaseModel, *, card: Card | None = None) -> tuple[TracedRun, Step]:
    """The traced run behind the estimate, and its step: the same trace, taken once for both.

    Raises as `estimate_memory`.
    """
    recipe = _what_matters(recipe)
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    trial = _Trial(
        recipe, load_skeleton(base_model), adapter, ParallelPlan(), full_depth=False, expandable_segments=True
    )
    step = trial.kind_of(card).step
    return trial.run_of(step), step


class _Asked(NamedTuple):
    """As `estimate_memory` takes it, without what no byte depends on."""

    recipe: Recipe
    base_model: BaseModel
    card: Card | None
    full_depth: bool
    expandable_segments: bool
    parallel: ParallelPlan
    of_cards: tuple[Card, ...]


@lru_cache(maxsize=256)
def _estimate(asked: _Asked) -> MemoryEstimate:
    recipe, base_model, card, full_depth, expandable_segments, parallel, of_cards = asked
    skeleton = load_skeleton(base_model)
    adapter = _adapter_of(recipe)
    trial = _Trial(recipe, skeleton, adapter, parallel, full_depth=full_depth, expandable_segments=expandable_segments)
    step = trial.kind_of(card).step
    run = trial.run_of(step)
    own = trial.play(trial.kind_of(card))
    taken_for_granted = (
        *assumptions(
            recipe,
            step,
            card,
            has_experts=_has_experts(skeleton),
            kernels_refused=_kernels_refused(skeleton, step.fused_lora),
            managed_bytes=managed_bytes(step.optimizer, run.trained),
        ),
        *state_words(step, run.trained),
        *recurrence_words(skeleton),
        _ALLOCATOR_WORDS[expandable_segments],
        *_checkpoint_words(recipe, base_model, step),
        *parallel.words,
    )
    fits = card_fits(of_cards, trial.bench({trial.kind_of(card): own}))
    context_bytes = card.context_bytes if card else USUAL_CONTEXT_BYTES
    return _explained(own, context_bytes, fits, taken_for_granted, _method(run.stack))


@dataclass(frozen=True)
class _Trial:
    """One recipe, run by cards of several kinds."""

    recipe: Recipe
    skeleton: Skeleton
    adapter: Adapter
    parallel: ParallelPlan
    full_depth: bool = False
    expandable_segments: bool = True
    _runs: dict[Step, TracedRun] = field(default_factory=dict)

    def kind_of(self, card: Card | None) -> CardKind:
        step = self.parallel.spread(step_from(self.recipe, card))
        if not step.flash_kernels and not self._may_use_flash(step):
            step = replace(step, flash_kernels=True)
        return CardKind(step, card.workspace_bytes if card else WORKSPACE_BYTES)

    def _may_use_flash(self, step: Step) -> bool:
        """Whether kernels of compute capability 8.0 would make a difference; where not, all cards share a trace."""
        fused = step.attention in ("sdpa", None) and step.dtype != "float32"
        return fused or _has_experts(self.skeleton)

    def run_of(self, step: Step) -> TracedRun:
        if step not in self._runs:
            self._runs[step] = run_of(self.skeleton, step, self.adapter, full_depth=self.full_depth)
        return self._runs[step]

    def play(self, kind: CardKind) -> Played:
        run = self.run_of(kind.step)
        expandable = self.expandable_segments
        played = typical_run(run, kind.step, kind.workspace_bytes, expandable_segments=expandable)
        return Played(*played, len(run.stack.stands_in))

    def _refusal(self, card: Card) -> str | None:
        by_length = packs_by_length(self.skeleton.config, self.kind_of(card).step)
        return why_it_cannot_run(self.recipe, card, by_length=by_length)

    def bench(self, played: Mapping[CardKind, Played]) -> Bench:
        """played: what need not be played again."""
        return Bench(
            self.kind_of,
            self._refusal,
            lambda kind: played.get(kind) or self.play(kind),
            self.expandable_segments,
        )


def _explained(
    own: Played,
    context_bytes: int,
    fits: tuple[CardFit, ...],
    taken_for_granted: tuple[str, ...],
    method: str,
) -> MemoryEstimate:
    result = own.replayed
    peak, parts, largest, curve = explain(own.timeline, result, own.num_layers)
    return MemoryEstimate(
        allocated_after_load_bytes=result.after_load_bytes,
        peak_forward_bytes=result.peaks_bytes["forward"],
        peak_backward_bytes=result.peaks_bytes["backward"],
        peak_optimizer_bytes=result.peaks_bytes["optimizer"],
        peak_allocated_bytes=result.peak_allocated_bytes,
        peak_reserved_bytes=result.peak_reserved_bytes,
        process_bytes=result.peak_reserved_bytes + context_bytes,
        parts=parts,
        peak=peak,
        assumptions=taken_for_granted,
        fits=fits,
        method=method,
        largest=largest,
        curve=curve,
    )


def _adapter_of(recipe: Recipe) -> Adapter:
    return RecipeAdapter(recipe) if recipe.adapter else Everything()


def _checkpoint_words(recipe: Recipe, base_model: BaseModel, step: Step) -> Iterator[str]:
    """A checkpoint that comes quantized, by its config.json or as the recipe says."""
    named = json.loads(base_model.config_json).get("quantization_config")
    method = named.get("quant_method") if isinstance(named, dict) else None
    if method == "bitsandbytes" and step.quantization is not None:
        return
    if named or recipe.gptq or recipe.model_quantization_config:
        kind = f" ({method})" if method else ""
        yield f"The checkpoint's own quantization{kind} is not modelled: weights count in the training type."


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
