"""What autograd saves, on its way to the host and back (trl 1.14, trl/models/activation_offloading.py).

Axolotl 0.21 corrects the streams that it uses (axolotl/core/trainers/mixins/activation_checkpointing.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_explorer.memory.kernels.host_copies import HostCopy, Leaving
from lora_explorer.memory.watching.watch import StorageWatch

SMALLEST_BYTES = 1024
SAVED_ON_THEIR_WAY = 5

Key = tuple[int, torch.dtype]


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
    another node of the backward pass is through that also asked for something. Nodes of a backward pass within the
    backward pass, as reentrant checkpointing makes them, do not count: what they asked for waits with the rest.
    """

    def __init__(self, parameters: frozenset[int] = frozenset(), watch: StorageWatch | None = None) -> None:
        super().__init__(parameters)
        self._leaving = Leaving(SAVED_ON_THEIR_WAY, watch)
        self._returned: dict[int, Tensor] = {}
        self._number_of: dict[Key, int] = {}
        self._key_of: dict[int, Key] = {}
        self._pass: int | None = None
        self._node: object = None

    def pack(self, tensor: Tensor) -> int:
        if not self._tracked:
            # Everything has been asked for: what follows belongs to another backward pass.
            self._pass = None
            self._number_of.clear()
            self._key_of.clear()
        # Axolotl clones on the stream of the computation, whatever the size.
        whole = tensor.is_contiguous() and tensor.storage_offset() == 0
        if not whole and not self._is_weight(tensor) and tensor.device.type != "cpu":
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        return super().pack(tensor)

    def unpack(self, number: int) -> Tensor:
        if self._pass is None:
            self._pass = torch._C._current_graph_task_id()
            torch.autograd.Variable._execution_engine.queue_callback(self._returned.clear)
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
        if node is not self._node and torch._C._current_graph_task_id() == self._pass:
            self._node, through = node, list(self._returned)
        tensor, holders = self._leaving.get(number), 0
        if tensor is None:
            tensor = self._returned[number] = copy.brought_back()
            holders = _holders(tensor)

        def node_is_through(outputs: Any, inputs: Any) -> Any:
            returned = self._returned.get(number)
            if returned is not None and _holders(returned) > holders:
                # Somebody else has it now.
                del self._returned[number]
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


def _holders(tensor: Tensor) -> int:
    """How many tensors share the storage."""
    return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


def _key(tensor: Tensor) -> Key:
    return tensor.untyped_storage()._cdata + tensor.storage_offset(), tensor.dtype
