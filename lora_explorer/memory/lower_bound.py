"""What a run needs at the very least, for the model or the setting whose training step cannot be traced.

Everything in it is counted, nothing estimated: weights as they are loaded and quantized, the adapter, gradients,
optimizer states, and of the activations only what no step can do without. What else the step keeps comes on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory.cards import Card
from lora_explorer.memory.plan.known_optimizers import PAGED
from lora_explorer.memory.plan.optimizers import TrainedTensor, trace_optimizer
from lora_explorer.memory.plan.parallel_plan import ParallelPlan
from lora_explorer.memory.plan.run_plan import step_from, training_dtype
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.traced_run import TRACE_FAILURES, RecipeAdapter, stack_of
from lora_explorer.memory.tracing.layers import Stack, container_path
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything, prepare, residents, trained
from lora_explorer.memory.tracing.unrolling import unroll_residents
from lora_explorer.settings import Recipe

Moment = Literal["loss", "optimizer step"]


@dataclass(frozen=True)
class LowerBound:
    """The least that a run allocates at its fuller moment; the run needs more, how much more is not known.

    parts: what is there at that moment for certain, in bytes, by the names that a full estimate uses.
    moment: when the loss is computed, or when the optimizer steps. reason: why there is no full figure.
    left_out: what could not even be counted, one sentence each.
    """

    parts: tuple[tuple[str, int], ...]
    moment: Moment
    reason: str
    left_out: tuple[str, ...] = ()

    @property
    def at_least_bytes(self) -> int:
        """Allocated bytes; the CUDA context and the allocator's own rounding and fragments are not in it."""
        return sum(size for _, size in self.parts)

    def rules_out(self, card: Card) -> bool:
        """Whether a card is too small even for this. False does not mean that the run fits."""
        return self.at_least_bytes > card.capacity_bytes


def count_lower_bound(
    recipe: Recipe,
    base_model: BaseModel,
    reason: str,
    *,
    card: Card | None = None,
    parallel: ParallelPlan | None = None,
) -> LowerBound:
    """Count what one GPU of the run cannot do without. reason: the sentence that says why it could not be traced.

    Raises MemoryUnknown if not even the weights can be laid out, AdapterRefused and UnknownBaseModel.
    """
    step = _countable_step(recipe, card)
    skeleton = load_skeleton(base_model)
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    stack, injected = stack_of(skeleton, adapter)
    held, trained_tensors = _held(skeleton, stack, step, injected, reason)
    left_out: list[str] = []
    held["optimizer states"] = _state_bytes(step, tuple(trained_tensors), left_out)
    gradients = sum(_size_bytes(tensor) for tensor in trained_tensors)
    if parallel is not None and parallel.n_gpus > 1:
        held, gradients = _share_of(held, gradients, parallel)
        left_out.append("What several GPUs can share is counted as shared equally, and nothing of their exchange.")
    at_loss = Counter({**held, **dict(_activations(recipe, step, skeleton, len(stack.stands_in)))})
    at_update = Counter({**held, "gradients": gradients})
    if step.accumulates:
        at_loss["gradients"] = gradients
    moment: Moment = "loss" if at_loss.total() >= at_update.total() else "optimizer step"
    fuller = at_loss if moment == "loss" else at_update
    parts = tuple((name, size) for name, size in fuller.items() if size)
    return LowerBound(parts, moment, reason, tuple(left_out))


def _share_of(held: Counter[str], gradients: int, parallel: ParallelPlan) -> tuple[Counter[str], int]:
    """Weights are whole but under full sharding; states and gradients may be shared in other ways, too."""
    shared = set(held) if parallel.sharding == "full" else {"optimizer states"}
    ours = {name: size // parallel.n_gpus if name in shared else size for name, size in held.items()}
    return Counter(ours), gradients // parallel.n_gpus


def _countable_step(recipe: Recipe, card: Card | None) -> Step:
    """The step of the recipe with what lays out its weights, and without what only tracing needs."""
    try:
        step = step_from(recipe, card)
    except MemoryUnknown:
        dtype = training_dtype(recipe)
        step = Step(
            recipe.micro_batch_size,
            recipe.sequence_len,
            dtype=dtype,
            autocast=dtype != "float32",
            # What cannot be described is counted as the smallest form there is.
            quantization=Quantization("nf4", experts=recipe.quantize_moe_experts) if _is_quantized(recipe) else None,
            inputs_require_grads=bool(recipe.adapter),
            optimizer=recipe.optimizer,
            accumulates=recipe.gradient_accumulation_steps > 1,
        )
    return replace(step, attention=None, packed=False, checkpointing=None)


def _is_quantized(recipe: Recipe) -> bool:
    return recipe.load_in_4bit or recipe.load_in_8bit


def _held(
    skeleton: Skeleton, stack: Stack, step: Step, adapter: Adapter, reason: str
) -> tuple[Counter[str], list[TrainedTensor]]:
    """What the prepared model holds, by category in bytes, and its trained tensors."""
    container = container_path(skeleton)
    try:
        model = prepare(skeleton, stack, step, adapter)
    except ExplorerError:
        raise
    except TRACE_FAILURES as error:
        raise MemoryUnknown(reason, setting="base_model") from error
    held: Counter[str] = Counter()
    for resident in unroll_residents(residents(model, container, step), stack):
        held[resident.category] += resident.size_bytes
    copies: Counter[int | None] = Counter([None, *stack.stands_in])
    return held, [tensor for layer, tensor in trained(model, container, step) for _ in range(copies[layer])]


def _size_bytes(tensor: TrainedTensor) -> int:
    return torch.Size(tensor.shape).numel() * tensor.dtype.itemsize


def _state_bytes(step: Step, trained: tuple[TrainedTensor, ...], left_out: list[str]) -> int:
    if step.optimizer in PAGED:
        left_out.append("The states of the paged optimizer are left out: the driver can move them to the host.")
        return 0
    try:
        first = trace_optimizer(step.optimizer, trained, clips_gradients=False).first
    except MemoryUnknown:
        left_out.append(f"The states of the optimizer {step.optimizer} are left out: they are not known here.")
        return 0
    states = zip(first.sizes_bytes, first.categories, strict=True)
    return sum(size for size, category in states if category == "optimizer states")


def _activations(recipe: Recipe, step: Step, skeleton: Skeleton, layers: int) -> Iterator[tuple[str, int]]:
    """What the forward pass keeps whatever the code: the input of every layer that passes a gradient on, the logits."""
    text: Any = skeleton.config.get_text_config()
    itemsize = getattr(torch, step.dtype).itemsize
    passes_gradients = step.inputs_require_grads or not recipe.adapter
    width = getattr(text, "hidden_size", None)
    if passes_gradients and not _offloads(recipe) and isinstance(width, int):
        yield "saved activations", step.tokens * width * layers * itemsize
    vocabulary = getattr(text, "vocab_size", None)
    if step.loss == "plain" and isinstance(vocabulary, int):
        # The logits and, beside them, their log-probabilities, which cross entropy keeps for its backward pass.
        log_itemsize = 4 if step.autocast else itemsize
        yield "logits and loss", step.tokens * vocabulary * (itemsize + log_itemsize)


def _offloads(recipe: Recipe) -> bool:
    return bool(recipe.activation_offloading) or recipe.gradient_checkpointing in ("offload", "offload_disk")
