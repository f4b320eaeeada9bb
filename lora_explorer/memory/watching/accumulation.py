"""Sums of gradients that autograd makes in place, which it leaves off while it is being watched.

Where a value is used several times, the engine adds up the gradients that come back. It adds into the first one if
nobody else holds it (torch/csrc/autograd/input_buffer.cpp, can_accumulate_inplace), but never while a dispatch mode is
active, since it cannot know what a mode does with its tensors. So a watched step has one more buffer at each such sum.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ADD = torch.ops.aten.add.Tensor


class Holders(NamedTuple):
    """How many hold a tensor, its storage, and its Python object."""

    tensor: int
    storage: int
    wrapper: int


def sums_in_place(func: Any, args: Sequence[Any], unshared: Holders) -> bool:
    """Whether autograd, unwatched, would write this sum into its first operand. To be asked in the backward pass."""
    if func is not _ADD or torch.is_grad_enabled() or _holders(args) != unshared:
        return False
    first, second = args[0], args[1]
    alike = isinstance(second, Tensor) and first.shape == second.shape and first.dtype is second.dtype
    return alike and bool(torch.ops.aten.is_non_overlapping_and_dense.default(first))


@lru_cache(maxsize=1)
def unshared_holders() -> Holders:
    """What is counted where only the engine holds a gradient: seen in a graph in which nobody else can."""
    value = torch.ones(2, device="meta", requires_grad=True)
    counter = _Counter()
    with torch.enable_grad(), counter:
        twice = value * 2
        torch.autograd.grad((twice * 3 + twice * 5).sum(), value)
    return counter.counted[0]


def _holders(args: Sequence[Any]) -> Holders:
    # The storage's wrapper is itself one of its holders. No name is bound to the tensor: that would count as well.
    storage = args[0].untyped_storage()
    return Holders(args[0]._use_count(), torch._C._storage_Use_Count(storage._cdata), sys.getrefcount(args[0]))


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts who holds the first operand of each sum that the engine makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: list[Holders] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _ADD and not torch.is_grad_enabled():
            self.counted.append(_holders(args))
        return func(*args, **(kwargs or {}))
