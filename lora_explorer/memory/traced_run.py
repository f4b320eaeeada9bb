"""One step of the whole model, traced through a few of its layers where they repeat."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING

from torch import nn

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory.events import Timeline
from lora_explorer.memory.layers import Stack, layer_kinds, shallow_stack, whole_stack
from lora_explorer.memory.optimizers import TrainedTensor, trace_optimizer, trained_tensors
from lora_explorer.memory.prepared_model import Adapter, base_of, layer_of, prepare, residents
from lora_explorer.memory.step import Step
from lora_explorer.memory.timeline import assemble
from lora_explorer.memory.trace import Resident, Trace
from lora_explorer.memory.tracing import trace_step
from lora_explorer.memory.unrolling import CannotUnroll, unroll, unroll_residents
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What running a model's own code without values can raise, seen over all causal language models of transformers.
TRACE_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
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


def _sentence(skeleton: Skeleton, error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (
        f"The memory of this {skeleton.config.model_type} model is not known: a training step with these settings "
        f"cannot be run without values ({type(error).__name__}: {text[0] if text else 'no reason given'})."
    )
