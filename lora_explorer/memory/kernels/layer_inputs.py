"""Inputs of checkpointed layers, on their way to the host and back (axolotl 0.21, axolotl/monkeypatch).

Of checkpoint_activation_offload.py, activation_offload_checkpoint.py and gradient_checkpointing/offload_cpu.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import compress
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from lora_explorer.memory.kernels.host_copies import HostCopy, Leaving
from lora_explorer.memory.watching.watch import StorageWatch

INPUTS_ON_THEIR_WAY = 2


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


class CopiedInputs:
    """Inputs of checkpointed layers that are copied at once, and come back when their layer is computed again."""

    def leave(self, tensor: Tensor) -> tuple[int, HostCopy]:
        """Nothing of it is held."""
        return 0, HostCopy.of(tensor)

    def come_back(self, number: int, copy: HostCopy) -> Tensor:
        """A new tensor, where the gradient ends."""
        return copy.brought_back().requires_grad_()


class OffloadedCheckpoint(torch.autograd.Function):
    """Reentrant checkpointing whose first input (batch, tokens, width) leaves for the host."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Any], inputs: CopiedInputs | PrefetchedInputs, hidden: Tensor, *others: Any
    ) -> Any:
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
def checkpointed_through(model: nn.Module, inputs: CopiedInputs | PrefetchedInputs) -> Iterator[None]:
    """While it is open, every checkpointed layer goes through `OffloadedCheckpoint`."""
    name = "_gradient_checkpointing_func"
    original = [(module, vars(module)[name]) for module in model.modules() if name in vars(module)]

    def checkpointed(function: Callable[..., Any], *args: Any) -> Any:
        apply: Callable[..., Any] = OffloadedCheckpoint.apply
        return apply(function, inputs, *args)

    for module, _ in original:
        setattr(module, name, checkpointed)
    try:
        yield
    finally:
        for module, function in original:
            setattr(module, name, function)
