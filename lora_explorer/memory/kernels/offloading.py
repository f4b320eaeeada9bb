"""Activations that leave for the host: what of them stays on the device, and what comes back when.

Facts from trl 1.14 (trl/models/activation_offloading.py) and axolotl 0.21, which uses and corrects it
(axolotl/core/trainers/mixins/activation_checkpointing.py, axolotl/monkeypatch/checkpoint_activation_offload.py and
activation_offload_checkpoint.py). Copies on the host are not watched: only what the device holds is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lora_explorer.memory.watching.watch import StorageWatch

# "streamed" copies beside the computation and holds what is on its way; "synchronous" waits for every copy; "hidden
# states" takes the inputs of checkpointed layers only.
Offloading = Literal["streamed", "synchronous", "hidden states"]

SMALLEST_BYTES = 1024
SAVED_ON_THEIR_WAY = 5
INPUTS_ON_THEIR_WAY = 2

Key = tuple[int, torch.dtype]


@dataclass(frozen=True)
class HostCopy:
    """A tensor that left: enough to make its place on the device again."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> HostCopy:
        return cls(tensor.shape, tensor.stride(), tensor.dtype, tensor.device)

    def brought_back(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


class Leaving:
    """Tensors that are held on their way to the host, by number: each until `window` more have been counted.

    watch: is told, so that deaths are known that follow from it.
    """

    def __init__(self, window: int, watch: StorageWatch | None = None) -> None:
        self._window = window
        self._watch = watch
        self._tensors: dict[int, Tensor] = {}
        self._left_out = 0

    def hold(self, number: int, tensor: Tensor) -> list[int]:
        """Hold one more. Returns the numbers of those that are let go for it."""
        if self._watch:
            self._watch.leaves(number, self._window)
        passed = number + self._newly_left_out() - self._window
        older = [older for older in self._tensors if older <= passed]
        self._let_go(older)
        self._tensors[number] = tensor
        return older

    def _newly_left_out(self) -> int:
        """Layers that this trace has left out since the last time; each of them would have counted."""
        before, self._left_out = self._left_out, self._watch.layers_left_out if self._watch else 0
        return self._left_out - before

    def get(self, number: int) -> Tensor | None:
        """The tensor, if it is held."""
        return self._tensors.get(number)

    def pop(self, number: int) -> Tensor | None:
        """The tensor, if it is held, which it is no longer."""
        return self._tensors.pop(number, None)

    def clear(self) -> list[int]:
        """Let all of them go. Returns their numbers."""
        if self._watch:
            self._watch.all_let_go()
        numbers = list(self._tensors)
        self._let_go(numbers)
        return numbers

    def _let_go(self, numbers: list[int]) -> None:
        for number in numbers:
            with self._watch.letting_go(number) if self._watch else nullcontext():
                del self._tensors[number]


class SavedTensors:
    """What autograd saves goes to the host at once, unless it is small or a parameter.

    parameters: storages of a fully trained model, whose views stay too; with an adapter Axolotl does not look for them.
    """

    def __init__(self, parameters: frozenset[int] = frozenset()) -> None:
        self._parameters = parameters
        self._tracked: dict[int, Tensor | HostCopy] = {}
        self._count = 0

    def pack(self, tensor: Tensor) -> int:
        self._count += 1
        self._tracked[self._count] = self._leave(self._count, tensor)
        return self._count

    def unpack(self, number: int) -> Tensor:
        tracked = self._tracked.pop(number)
        return tracked if isinstance(tracked, Tensor) else self._return(number, tracked)

    def clear(self) -> None:
        """What no node asked for stays until the next step begins."""
        self._tracked.clear()

    def _stays(self, tensor: Tensor) -> bool:
        small = tensor.numel() * tensor.element_size() < SMALLEST_BYTES
        # A storage on the host has nowhere to go.
        on_host = tensor.device.type == "cpu"
        return small or on_host or self._is_weight(tensor)

    def _is_weight(self, tensor: Tensor) -> bool:
        return isinstance(tensor, nn.Parameter) or tensor.untyped_storage()._cdata in self._parameters

    def _leave(self, number: int, tensor: Tensor) -> Tensor | HostCopy:
        if self._stays(tensor):
            return tensor
        whole = 0 in tensor.stride() or (tensor.is_contiguous() and tensor.storage_offset() == 0)
        return HostCopy.of(tensor if whole else tensor.clone(memory_format=torch.contiguous_format))

    def _return(self, number: int, copy: HostCopy) -> Tensor:
        return copy.brought_back()


class StreamedTensors(SavedTensors):
    """Copies run on a stream of their own: a leaving tensor is held until a few more have left.

    A storage saved again while it is held stays on the device for that second time. What comes back is held until
    another node of the backward pass is through that also asked for something.
    """

    def __init__(self, parameters: frozenset[int] = frozenset(), watch: StorageWatch | None = None) -> None:
        super().__init__(parameters)
        self._leaving = Leaving(SAVED_ON_THEIR_WAY, watch)
        self._returned: dict[int, Tensor] = {}
        self._number_of: dict[Key, int] = {}
        self._key_of: dict[int, Key] = {}
        self._node: object = None

    def pack(self, tensor: Tensor) -> int:
        # Axolotl clones on the stream of the computation, whatever the size.
        whole = tensor.is_contiguous() and tensor.storage_offset() == 0
        if not whole and not self._is_weight(tensor) and tensor.device.type != "cpu":
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        return super().pack(tensor)

    def unpack(self, number: int) -> Tensor:
        tensor = super().unpack(number)
        self._forget(number)
        return tensor

    def clear(self) -> None:
        super().clear()
        self._leaving.clear()
        self._returned.clear()

    def _leave(self, number: int, tensor: Tensor) -> Tensor | HostCopy:
        key = _key(tensor)
        if key in self._number_of:
            self._remember(number, key)
            return tensor
        if self._stays(tensor):
            return tensor
        for older in self._leaving.hold(number, tensor):
            self._forget(older)
        self._remember(number, key)
        return HostCopy.of(tensor)

    def _return(self, number: int, copy: HostCopy) -> Tensor:
        node: Any = torch._C._current_autograd_node()
        through: list[int] = []
        if node is not self._node:
            self._node, through = node, list(self._returned)
        tensor = self._leaving.get(number)
        if tensor is None:
            if not self._returned:
                torch.autograd.Variable._execution_engine.queue_callback(self._returned.clear)
            tensor = self._returned[number] = copy.brought_back()

        def node_is_through(outputs: Any, inputs: Any) -> Any:
            for held in self._leaving.clear():
                self._forget(held)
            for older in through:
                self._returned.pop(older, None)
            return outputs

        node.register_hook(node_is_through)
        return tensor

    def _remember(self, number: int, key: Key) -> None:
        self._number_of[key] = number
        self._key_of[number] = key

    def _forget(self, number: int) -> None:
        key = self._key_of.pop(number, None)
        if key is not None and self._number_of.get(key) == number:
            del self._number_of[key]


class LayerInputs:
    """Inputs of layers that are computed again: the last few are held while they leave."""

    def __init__(self, watch: StorageWatch | None = None) -> None:
        # Not by id, which the next tensor may get.
        self._marked: list[ReferenceType[Tensor]] = []
        self._leaving = Leaving(INPUTS_ON_THEIR_WAY, watch)
        self._count = 0

    def mark(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a layer runs: its input may leave when checkpointing saves it."""
        hidden = args[0] if args else kwargs.get("hidden_states")
        if isinstance(hidden, Tensor) and hidden.device.type != "cpu" and torch.is_grad_enabled():
            self._marked.append(ref(hidden))

    def pack(self, tensor: Tensor) -> Tensor | tuple[int, HostCopy]:
        alive = [marked for marked in self._marked if marked() is not None]
        self._marked = [marked for marked in alive if marked() is not tensor]
        return tensor if len(self._marked) == len(alive) else self.leave(tensor)

    def unpack(self, packed: Tensor | tuple[int, HostCopy]) -> Tensor:
        return packed if isinstance(packed, Tensor) else self.come_back(*packed)

    def leave(self, tensor: Tensor) -> tuple[int, HostCopy]:
        """Hold the input while it leaves, and let older ones go."""
        self._count += 1
        self._leaving.hold(self._count, tensor)
        return self._count, HostCopy.of(tensor)

    def come_back(self, number: int, copy: HostCopy) -> Tensor:
        """The input itself if it is still held, else a new one."""
        tensor = self._leaving.pop(number)
        return copy.brought_back() if tensor is None else tensor

    def clear(self) -> None:
        """The step is over."""
        self._leaving.clear()


class PrefetchedInputs(LayerInputs):
    """Inputs of reentrantly checkpointed layers: while one is used, the one needed next comes back beside it."""

    def __init__(self, watch: StorageWatch | None = None) -> None:
        super().__init__(watch)
        self._copies: dict[int, HostCopy] = {}
        self._fetched: dict[int, Tensor] = {}

    def leave(self, tensor: Tensor) -> tuple[int, HostCopy]:
        number, copy = super().leave(tensor)
        self._copies[number] = copy
        return number, copy

    def come_back(self, number: int, copy: HostCopy) -> Tensor:
        del self._copies[number]
        tensor = self._fetched.pop(number, None)
        if tensor is None:
            tensor = copy.brought_back()
        if number - 1 in self._copies:
            self._fetched[number - 1] = self._copies[number - 1].brought_back()
        self._leaving.clear()
        return tensor.detach().requires_grad_()


class OffloadedCheckpoint(torch.autograd.Function):
    """Reentrant checkpointing whose first input (batch, tokens, width) leaves for the host."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], inputs: PrefetchedInputs, hidden: Tensor, *others: Any) -> Any:
        ctx.function, ctx.inputs, ctx.others = function, inputs, others
        ctx.left = inputs.leave(hidden)
        with torch.no_grad():
            return function(hidden, *others)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        hidden = ctx.inputs.come_back(*ctx.left)
        with torch.enable_grad():
            outputs = ctx.function(hidden, *ctx.others)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        flowing = [isinstance(output, Tensor) and output.requires_grad for output in outputs]
        torch.autograd.backward(tuple(compress(outputs, flowing)), tuple(compress(gradients, flowing)))
        return (None, None, hidden.grad, *(None for _ in ctx.others))


@contextmanager
def _reentrant(model: nn.Module, watch: StorageWatch | None) -> Iterator[None]:
    """Every checkpointed layer goes through `OffloadedCheckpoint`."""
    name = "_gradient_checkpointing_func"
    original = [(module, vars(module)[name]) for module in model.modules() if name in vars(module)]
    inputs = PrefetchedInputs(watch)

    def checkpointed(function: Callable[..., Any], *args: Any) -> Any:
        apply: Callable[..., Any] = OffloadedCheckpoint.apply
        return apply(function, inputs, *args)

    for module, _ in original:
        setattr(module, name, checkpointed)
    try:
        yield
    finally:
        inputs.clear()
        for module, function in original:
            setattr(module, name, function)


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

    watch: is told what is held on its way. reentrant: how layers are checkpointed, where their inputs leave.
    """
    if kind is None:
        yield
        return
    if kind == "hidden states" and reentrant:
        with _reentrant(model, watch):
            yield
        return
    with ExitStack() as scopes:
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


def _key(tensor: Tensor) -> Key:
    return tensor.untyped_storage()._cdata + tensor.storage_offset(), tensor.dtype
