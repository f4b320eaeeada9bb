"""Activations that leave for the host: what of them stays on the device, and what comes back when.

Copies on the host are not watched: only what the device holds is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from lora_explorer.memory.kernels.layer_inputs import CopiedInputs, LayerInputs, PrefetchedInputs, checkpointed_through
from lora_explorer.memory.kernels.saved_tensors import SavedTensors, StreamedTensors
from lora_explorer.memory.watching.watch import StorageWatch

# "streamed" copies beside the computation and holds what is on its way; "synchronous" waits for every copy; "hidden
# states" takes the inputs of checkpointed layers only.
Offloading = Literal["streamed", "synchronous", "hidden states"]


@contextmanager
def offloading(
    model: nn.Module,
    kind: Offloading | None,
    head: nn.Module | None,
    watch: StorageWatch | None = None,
    *,
    reentrant: bool = False,
) -> Iterator[None]:
    """While it is open, activations leave as they would. head: the output head if the model calls it, whose own stay.

    watch: is told what is held on its way. reentrant: how layers are checkpointed.
    """
    if kind is None:
        yield
        return
    with ExitStack() as scopes:
        if kind == "hidden states" and reentrant:
            inputs = PrefetchedInputs(watch)
            scopes.callback(inputs.clear)
            scopes.enter_context(checkpointed_through(model, inputs))
            yield
            return
        if kind == "synchronous" and reentrant:
            # Axolotl puts a checkpoint of its own in the place of torch's.
            scopes.enter_context(checkpointed_through(model, CopiedInputs()))
        manager: SavedTensors | LayerInputs
        if kind == "hidden states":
            manager = LayerInputs(watch)
            for layer in _checkpointed_layers(model):
                hook = layer.register_forward_pre_hook(manager.mark, with_kwargs=True)
                scopes.callback(hook.remove)
        else:
            trained = _trained_storages(model)
            manager = StreamedTensors(trained, watch) if kind == "streamed" else SavedTensors(trained)
            if head is not None:
                scopes.enter_context(_kept_in(head))
        scopes.callback(manager.clear)
        scopes.enter_context(saved_tensors_hooks(manager.pack, manager.unpack))
        yield


@contextmanager
def _kept_in(module: nn.Module) -> Iterator[None]:
    """What this module saves does not leave: it is needed again at once."""
    stack = ExitStack()

    def entered(*_: object) -> None:
        stack.enter_context(saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor))

    def left(*_: object) -> None:
        stack.close()

    hooks = [module.register_forward_pre_hook(entered), module.register_forward_hook(left, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _checkpointed_layers(model: nn.Module) -> list[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _trained_storages(model: nn.Module) -> frozenset[int]:
    if any(not parameter.requires_grad for parameter in model.parameters()):
        return frozenset()
    return frozenset(parameter.untyped_storage()._cdata for parameter in model.parameters())
