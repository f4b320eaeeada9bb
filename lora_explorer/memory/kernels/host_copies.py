"""Tensors that leave for the host, and those that are held on their way there."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_explorer.memory.watching.operator_work import moves
from lora_explorer.memory.watching.watch import StorageWatch, declare
from lora_explorer.memory.watching.work import FROM_HOST, TO_HOST


@dataclass(frozen=True)
class HostCopy:
    """A tensor that left: enough to make its place on the device again."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> HostCopy:
        declare(moves(TO_HOST, tensor))
        return cls(tensor.shape, tensor.stride(), tensor.dtype, tensor.device)

    def brought_back(self) -> Tensor:
        tensor = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
        declare(moves(FROM_HOST, tensor))
        return tensor


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
