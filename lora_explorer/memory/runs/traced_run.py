"""One step of the whole model, traced through a few of its layers where they repeat."""

from __future__ import annotations

import gc
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from threading import RLock
from traceback import walk_tb
from typing import TYPE_CHECKING

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory.kernels.layer_inputs import INPUTS_ON_THEIR_WAY
from lora_explorer.memory.plan.optimizers import OptimizerTrace, TrainedTensor, trace_optimizer
from lora_explorer.memory.plan.parallel import Parallelism, Share, share_of
from lora_explorer.memory.plan.step import Loading, Step
from lora_explorer.memory.replay.loading import load
from lora_explorer.memory.replay.timeline import Found, with_steps
from lora_explorer.memory.tracing.events import Part, Timeline
from lora_explorer.memory.tracing.layers import Stack, container_path, layer_kinds, shallow_stack, whole_stack
from lora_explorer.memory.tracing.one_pass import trace_step
from lora_explorer.memory.tracing.prepared_model import Adapter, kept_layers, prepare, residents, trained
from lora_explorer.memory.tracing.unrolling import CannotUnroll, unroll, unroll_part, unroll_residents
from lora_explorer.memory.watching.trace import Resident, Trace, Whole
from lora_explorer.memory.watching.work import Work
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What running a model's own code without values can raise, seen over all causal language models of transformers.
TRACE_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip

# Gradients that are accumulated are a matter of the step, not of the adapter.
_NOT_OF_THE_TRACE = (
    "micro_batch_size", "sequence_len", "gradient_accumulation_steps", "optimizer", "max_grad_norm",
)  # fmt: skip
_OF_THE_SCALE = ("lora_alpha", "lora_alpha_pattern", "peft_use_rslora")

_tracing = RLock()


@dataclass(frozen=True)
class RecipeAdapter:
    """The adapter of a recipe, injected by PEFT."""

    recipe: Recipe

    @property
    def rank(self) -> int | None:
        """Of every module without a rank of its own."""
        return self.recipe.lora_r

    @property
    def scales_by_one(self) -> bool:
        """Whether some B·A may be left as it is because alpha and rank cancel out, which saves PEFT a product."""
        power = 2 if self.recipe.peft_use_rslora else 1
        alphas = [self.recipe.lora_alpha or 0, *dict(self.recipe.lora_alpha_pattern).values()]
        return any(alpha**power == self.rank for alpha in alphas)

    @property
    def kin(self) -> Recipe:
        """The recipe without rank, batch and length, and without what only an optimizer looks at.

        Of dropout only whether there is any: what is kept of it is a mask, whatever the share.
        """
        is_dropped = 0.5 if self.recipe.lora_dropout else 0.0
        others = {name: Recipe.model_fields[name].default for name in _NOT_OF_THE_TRACE}
        return self.recipe.model_copy(update={**others, "lora_r": None, "lora_dropout": is_dropped})

    @property
    def kin_of_any_scale(self) -> Recipe:
        """The same without what B·A is multiplied by, which is a number and no storage."""
        others = {name: Recipe.model_fields[name].default for name in _OF_THE_SCALE}
        return self.kin.model_copy(update=others)

    def with_rank(self, rank: int) -> RecipeAdapter:
        """The same with another rank."""
        return RecipeAdapter(self.recipe.model_copy(update={"lora_r": rank}))

    @property
    def sources(self) -> tuple[int, ...]:
        """Where layers are replicated: for every layer the one of the base model that it is made from."""
        return tuple(layer for start, end in self.recipe.peft_layer_replication for layer in range(start, end))

    def in_replicated_layers(self) -> RecipeAdapter:
        """The same for a model whose layers are replicated already."""
        return RecipeAdapter(self.recipe.model_copy(update={"peft_layer_replication": ()}))

    def inject(self, model: PreTrainedModel) -> nn.Module:
        adapted: nn.Module = inject_adapter(self.recipe, model)
        return adapted

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        shapeless = self.recipe.model_copy(update={"micro_batch_size": 1, "sequence_len": 1})
        return _kinds_of_layers(RecipeAdapter(shapeless), skeleton)


@lru_cache(maxsize=16)
def _kinds_of_layers(adapter: RecipeAdapter, skeleton: Skeleton) -> Sequence[Hashable]:
    """What is adapted of each layer, and how."""
    kinds: list[set[Hashable]] = [set() for _ in range(len(adapter.sources) or skeleton.num_layers)]
    for module in plan_adapter(adapter.recipe, skeleton).modules:
        if module.layer is not None:
            kinds[module.layer].add((module.path.partition(f".{module.layer}.")[2], module.r, module.via))
    return tuple(frozenset(kind) for kind in kinds)


@dataclass(frozen=True)
class TracedRun:
    """A traced step, of the kept layers of its stack, and what it means for the whole model.

    kept_residents, kept_trained: what the kept layers and everything outside them hold and train; a trained tensor
    comes with its layer. kept_trace: their step. loaded_like: a run whose loading differs in sizes only, and these.
    """

    stack: Stack
    kept_residents: tuple[Resident, ...]
    kept_trained: tuple[tuple[int | None, TrainedTensor], ...]
    kept_trace: Trace
    loading: Loading
    loaded_like: tuple[TracedRun, Whole] | None = field(default=None, repr=False)
    _loadings: dict[int, Part] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def residents(self) -> tuple[Resident, ...]:
        """What the whole model holds."""
        return tuple(unroll_residents(self.kept_residents, self.stack))

    @cached_property
    def trained(self) -> tuple[TrainedTensor, ...]:
        """What is trained of the whole model, in its order: an optimizer goes through it one after the other."""
        by_layer: dict[int | None, list[TrainedTensor]] = defaultdict(list)
        before = list(takewhile(lambda each: each[0] is None, self.kept_trained))
        for layer, tensor in self.kept_trained[len(before) :]:
            by_layer[layer].append(tensor)
        in_layers = (tensor for like in self.stack.stands_in for tensor in by_layer[like])
        return (*(tensor for _, tensor in before), *in_layers, *by_layer[None])

    @cached_property
    def adds_biases(self) -> bool:
        """Whether a linear layer has a bias; a norm's is as large as its weight."""
        sizes = {resident.path: resident.size_bytes for resident in self.kept_residents}
        biases = (path for path in sizes if path.endswith(".bias"))
        return any(sizes.get(f"{path[:-4]}weight", 0) > sizes[path] for path in biases)

    def load(self, race: int = 0) -> Part:
        """Loading, as race number `race` of its readers went; every race has the same storages."""
        if self.loaded_like is not None:
            run, sizes_bytes = self.loaded_like
            return replace(run.load(race), sizes_bytes=sizes_bytes)
        if race not in self._loadings:
            timeline = Timeline()
            load(timeline, self.residents, self.loading, race)
            self._loadings[race] = timeline.part
        return self._loadings[race]

    @property
    def work(self) -> Work:
        """What the kept layers and everything outside them compute and move."""
        return self.kept_trace.work

    @cached_property
    def repeats(self) -> Whole:
        """(operations,): how many layers of the whole model run each kernel of `work`; 1 for one outside of them."""
        layers = Counter(self.stack.stands_in)
        of_segment = [1 if segment.layer is None else layers[segment.layer] for _, segment in self.kept_trace.marks]
        places = np.array([operation.segment for operation in self.work.operations], np.int64)
        return np.array([*of_segment, 1], np.int64)[places]

    @cached_property
    def trace(self) -> Trace:
        """The step of the whole model."""
        return unroll(self.kept_trace, self.stack)

    @cached_property
    def part(self) -> Part:
        """The step of the whole model in arrays."""
        return unroll_part(self.kept_trace, self.stack)


def trace_run(skeleton: Skeleton, step: Step, adapter: Adapter, *, full_depth: bool = False) -> TracedRun:
    """Trace one step. Falls back to every layer where a few cannot stand for all. Raises MemoryUnknown."""
    with _tracing, _collection_paused():
        shallow, injected = stack_of(skeleton, adapter, last=_last_layers(step))
        whole = whole_stack(len(shallow.stands_in), shallow.sources)
        if full_depth or shallow.is_whole:
            return _trace(skeleton, whole, step, injected)
        try:
            return _trace(skeleton, shallow, step, injected)
        except (CannotUnroll, MemoryUnknown):
            return _trace(skeleton, whole, step, injected)


def _last_layers(step: Step) -> int:
    """How many layers at the end are like no other: those too whose output is still held when the backward begins."""
    held = step.offloading == "hidden states" and step.checkpointing is not None
    return 1 + INPUTS_ON_THEIR_WAY if held else 1


def stack_of(skeleton: Skeleton, adapter: Adapter, *, last: int = 1) -> tuple[Stack, Adapter]:
    """The layers that are trained, one of each kind kept, and the adapter to put into them. Raises AdapterRefused.

    last: so many layers at the end are kept, whatever their kind.
    """
    base_kinds = layer_kinds(skeleton)
    sources = adapter.sources if isinstance(adapter, RecipeAdapter) else ()
    kinds = [base_kinds[source] for source in sources] or base_kinds
    stack = shallow_stack(list(zip(kinds, adapter.layer_kinds(skeleton), strict=True)), sources, last=last)
    in_place = adapter.in_replicated_layers() if sources and isinstance(adapter, RecipeAdapter) else adapter
    return stack, in_place


def timeline_of(run: TracedRun, step: Step, workspace_bytes: int, race: int = 0) -> Timeline:
    """Loading and two steps of a traced run. race: of the readers that load it."""
    if step.parallelism is not None:
        return _timeline_of_share(run, step, step.parallelism, workspace_bytes, race)
    timeline = Timeline()
    timeline.extend(run.load(race))
    if step.empties_cache:
        timeline.empty_cache()
    return with_steps(timeline, run.part, optimizer_of(run, step), _found(run, run.trained, step, workspace_bytes))


def optimizer_of(run: TracedRun, step: Step) -> OptimizerTrace:
    """The optimizer's steps with everything that is trained. Raises MemoryUnknown."""
    return trace_optimizer(step.optimizer, run.trained, clips_gradients=step.clips_gradients)


def _timeline_of_share(
    run: TracedRun, step: Step, parallelism: Parallelism, workspace_bytes: int, race: int
) -> Timeline:
    share = share_of(Share(run.residents, run.trained, run.trace), parallelism)
    timeline = Timeline()
    load(timeline, share.residents, run.loading, race)
    if step.empties_cache:
        timeline.empty_cache()
    optimizer = trace_optimizer(step.optimizer, share.trained, clips_gradients=step.clips_gradients)
    return with_steps(timeline, share.trace, optimizer, _found(run, share.trained, step, workspace_bytes))


def _found(run: TracedRun, trained: Sequence[TrainedTensor], step: Step, workspace_bytes: int) -> Found:
    gradients = [math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in trained] if step.accumulates else []
    waiting_bytes = step.waiting_batches * step.tokens * torch.int64.itemsize
    batches = [waiting_bytes] * len(step.batch_names) if waiting_bytes else []
    return Found(workspace_bytes, run.adds_biases, gradients, batches)


def _trace(skeleton: Skeleton, stack: Stack, step: Step, adapter: Adapter) -> TracedRun:
    container = container_path(skeleton)
    model: nn.Module | None = None
    try:
        model = prepare(skeleton, stack, step, adapter)
        # Before the step: it moves bitsandbytes' 8-bit scales from the weight to where they cannot be seen.
        held = tuple(residents(model, container, step))
        trace = trace_step(model, kept_layers(model, skeleton, stack), step)
    except ExplorerError:
        raise
    except TRACE_FAILURES as error:
        raise _stopped_in_adapter(model, skeleton, adapter, error) or _stopped(skeleton, error) from error
    run = TracedRun(stack, held, tuple(trained(model, container, step)), trace, step.loading)
    # Where a few layers cannot stand for all it shows here.
    unroll_part(trace, stack)
    return run


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Otherwise a collection somewhere in the step would decide when storages in reference cycles die.

    The model that was prepared is one large cycle. It is taken away at once, while it counts as new: once it counts
    as old, collections take half a second.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(0)
        if was_on:
            gc.enable()


def _stopped(skeleton: Skeleton, error: BaseException) -> MemoryUnknown:
    return MemoryUnknown(
        f"The memory of this {skeleton.config.model_type} model is not known: a training step with these settings "
        f"cannot be run without values ({_reason(error)}).",
        setting="base_model",
    )


def _stopped_in_adapter(
    model: nn.Module | None, skeleton: Skeleton, adapter: Adapter, error: BaseException
) -> MemoryUnknown | None:
    """The same where one of PEFT's layers gave up, which the setting that put it there can help."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    layer = frame.f_locals.get("self")
    if model is None or not isinstance(layer, BaseTunerLayer) or not isinstance(adapter, RecipeAdapter):
        return None
    name = next(path for path, module in model.named_modules() if module is layer).rpartition(".")[2]
    vias = (module.via for module in plan_adapter(adapter.recipe, skeleton).modules if module.kind == name)
    via = next(vias, "lora_target_modules")
    # PEFT adds its product to one tensor; a router, say, hands out scores and choices.
    several = "tuple" in str(error)
    why = "returns several values where PEFT's layer expects one" if several else f"fails ({_reason(error)})"
    return MemoryUnknown(f"{via}: training stops at {name}, which {why}; leave it out of the targets.", setting=via)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no reason given'}"
