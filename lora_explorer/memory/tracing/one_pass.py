"""Running one forward and backward pass of a prepared model under watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from lora_explorer.memory.kernels.attention import keys_repeated
from lora_explorer.memory.kernels.cuda import CudaOperators
from lora_explorer.memory.kernels.experts import grouped_forms, grouped_formulas
from lora_explorer.memory.kernels.host import HostOperators, host_formulas
from lora_explorer.memory.kernels.losses import DeferredHead
from lora_explorer.memory.kernels.offloading import offloading
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.tracing.prepared_model import base_of, held_tensors, recomputation_watched
from lora_explorer.memory.tracing.quantization import (
    eight_bit_forms,
    eight_bit_formulas,
    four_bit_forms,
    four_bit_formulas,
    without_cast_warnings,
)
from lora_explorer.memory.watching.kernel_temporaries import INNER_TEMPORARIES
from lora_explorer.memory.watching.operator_work import Formula
from lora_explorer.memory.watching.trace import Trace
from lora_explorer.memory.watching.watch import StorageWatch


def trace_step(model: nn.Module, layers: dict[int, nn.Module], step: Step, *, device: str = "meta") -> Trace:
    """Births and deaths of one forward and backward pass.

    layers: the repeated layers by number. device: "meta", or "cpu" to watch real tensors.
    """
    # A document boundary is found by asking whether positions rise by one throughout: yes unless packed. Whether a
    # mask is needed is found by asking whether it lets everything through: yes unless rows are padded.
    answers = {bool: not (step.keeps_documents_apart or step.padded), int: step.sequence_len, float: 1.0}
    on_cuda = step.kernels == "cuda"
    forms = _forms(step) if device == "meta" else None
    watch = StorageWatch(device, answers, forms, INNER_TEMPORARIES if on_cuda else {}, _formulas(step))
    if step.accumulates:
        for parameter in _trainable(model):
            parameter.grad = torch.empty_like(parameter)
    watch.ignore(held_tensors(model))
    watch.ignore(parameter.grad for parameter in _trainable(model) if parameter.grad is not None)
    autocast = getattr(torch, step.dtype) if step.autocast else None
    operators = (CudaOperators if on_cuda else HostOperators)(watch, autocast, flash_kernels=step.flash_kernels)
    head = _output_head(model)
    called = None if isinstance(head, DeferredHead) else head
    reentrant = step.checkpointing == "reentrant"
    with ExitStack() as scopes:
        if step.repeats_keys:
            scopes.enter_context(keys_repeated())
        scopes.enter_context(offloading(model, step.offloading, called, watch, reentrant=reentrant))
        scopes.enter_context(recomputation_watched(model, partial(_recomputation, watch, operators)))
        scopes.enter_context(_places_marked(model, layers, watch, operators))
        scopes.enter_context(operators.meta_autocast())
        scopes.enter_context(without_cast_warnings())
        scopes.enter_context(watch)
        kept = _run(model, step, watch, operators, device)
        watch.settle_gradients(parameter.grad for parameter in _trainable(model) if parameter.grad is not None)
        watch.finish()
        del kept
    trace = watch.trace()
    model.zero_grad(set_to_none=True)
    return trace


def _forms(step: Step) -> dict[Any, Callable[..., Any]]:
    if step.quantization is None:
        return grouped_forms()
    return {**grouped_forms(), **(eight_bit_forms() if step.quantization.kind == "int8" else four_bit_forms())}


def _formulas(step: Step) -> dict[Any, Formula]:
    of_all = {**grouped_formulas(), **host_formulas()}
    if step.quantization is None:
        return of_all
    return {**of_all, **(eight_bit_formulas() if step.quantization.kind == "int8" else four_bit_formulas())}


def _run(model: nn.Module, step: Step, watch: StorageWatch, operators: CudaOperators, device: str) -> Any:
    watch.mark("embedding")
    batch = _batch(step, device)
    with operators:
        outputs = model(**batch, use_cache=False)
    operators.forget_casts()
    if step.outputs_to_float32 and step.autocast:
        outputs = _to_float32(outputs)
    loss = outputs.loss
    if not step.keeps_outputs:
        del outputs
    watch.settle()
    watch.phase = "backward"
    watch.mark("head")
    loss.backward()
    operators.forget_casts()
    # The loop holds its batch until the next one comes. The Trainer keeps the loss without its graph.
    return (loss, outputs, batch) if step.keeps_outputs else (loss.detach(), batch)


@contextmanager
def _recomputation(watch: StorageWatch, operators: CudaOperators) -> Iterator[None]:
    """Scope of a checkpointed computation: in the backward pass the operators' forms come back for its time."""
    if watch.phase == "forward":
        yield
        return
    with watch.recomputation(), operators:
        yield


def _batch(step: Step, device: str) -> dict[str, Tensor]:
    """(batch, tokens) each, as a padding collator makes them."""
    shape = (step.micro_batch_size, step.sequence_len)
    batch = {name: torch.ones(shape, dtype=torch.int64, device=device) for name in step.batch_names}
    batch.setdefault("labels", batch["input_ids"])
    return batch


def _to_float32(outputs: Any) -> Any:
    from accelerate.utils.operations import convert_to_fp32

    return convert_to_fp32(outputs)


def _trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


@contextmanager
def _places_marked(
    model: nn.Module, layers: dict[int, nn.Module], watch: StorageWatch, operators: CudaOperators
) -> Iterator[None]:
    """Tell the watch where in the model the step is, forward and backward, while it is open."""
    marks = _PlaceMarks(model, layers, watch, operators)
    try:
        yield
    finally:
        marks.remove()


class _PlaceMarks:
    """Hooks on layers and output head. A layer's backward begins when the gradient of its output is ready."""

    def __init__(
        self, model: nn.Module, layers: dict[int, nn.Module], watch: StorageWatch, operators: CudaOperators
    ) -> None:
        self._watch = watch
        self._operators = operators
        self._first, self._last = (min(layers), max(layers)) if layers else (-1, -1)
        self._behind_layers = False
        self._hooks: list[Any] = []
        inside = {id(module) for layer in layers.values() for module in layer.modules()}
        for number, layer in layers.items():
            self._hooks.append(layer.register_forward_pre_hook(self._entering(number), with_kwargs=True))
            self._hooks.append(layer.register_forward_hook(self._leaving(number)))
        for module in model.modules():
            if id(module) not in inside and not any(module.children()):
                self._hooks.append(module.register_forward_pre_hook(self._outside))
        head = _output_head(model)
        if head is not None:
            self._hooks.append(head.register_forward_pre_hook(self._head))

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _entering(self, number: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self._watch.phase != "forward":
                return
            self._watch.mark("layer", number)
            if number == self._first:
                self._on_gradient((args, kwargs), lambda _: self._watch.mark("embedding"))

        return hook

    def _leaving(self, number: int) -> Callable[..., None]:
        def backward_begins(_: Tensor) -> None:
            self._operators.forget_casts()
            self._watch.mark("layer", number)

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._watch.phase != "forward":
                return
            self._on_gradient(output, backward_begins)
            self._behind_layers = number == self._last

        return hook

    def _outside(self, module: nn.Module, args: Any) -> None:
        # What the last layer leaves behind dies before the next module is called, as between layers.
        if self._behind_layers:
            self._behind_layers = False
            self._watch.mark("head")

    def _head(self, module: nn.Module, args: Any) -> None:
        self._watch.in_head = True

        def left(_: Tensor) -> None:
            self._watch.in_head = False

        self._on_gradient(args, left)

    @staticmethod
    def _on_gradient(value: Any, hook: Callable[[Tensor], None]) -> None:
        for tensor in tree_iter(value):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                register: Callable[..., Any] = tensor.register_hook
                register(hook)
                return


def _output_head(model: nn.Module) -> nn.Module | None:
    # A loss that applies the head itself begins where the hidden states are handed through.
    head: nn.Module | None = base_of(model).get_output_embeddings()
    return head
