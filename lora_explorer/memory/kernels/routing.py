"""Routing by value: where a model asks which tokens go to an expert, they are taken to be shared out equally.

On meta nobody knows which tokens were chosen, but how many there are of them under balanced routing is known: of a
one-hot choice among n experts every n-th value holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lora_explorer.memory.watching.watch import StorageWatch

_aten = torch.ops.aten


@dataclass(frozen=True)
class Choice:
    """A storage about a choice among so many experts: whom each token chose, one-hot, or how many chose each."""

    experts: int
    totals: bool = False

    def value_at(self, offset: int) -> int:
        """Whether an expert was chosen; each was by somebody."""
        return 1

    def places(self, mask: Tensor) -> int:
        """How many of a mask's values hold. Columns beyond the experts, for tokens that go nowhere, stay empty."""
        return self.experts if self.totals else max(mask.numel() // self.experts, 1)


@dataclass(frozen=True)
class Positions:
    """A storage that lists the places of values that all hold, (values, 1)."""

    def value_at(self, offset: int) -> int:
        """The place of a value is its number."""
        return offset


class EqualShares:
    """Stands for the list of how many tokens each of `count` experts gets; only a split can read it."""

    def __init__(self, count: int) -> None:
        self.count = count

    def of(self, total: int) -> list[int]:
        """So many tokens shared out."""
        each, left = divmod(total, self.count)
        return [each + (index < left) for index in range(self.count)]


def routing_forms() -> dict[Any, Callable[..., Any]]:
    """What is run in place of operators whose results depend on how tokens are routed."""
    return {_aten.nonzero.default: _nonzero, _aten.index.Tensor: _index}


def routed(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One of ROUTED on meta, answered for balanced routing."""
    result = ROUTED[func](watch, func, args, kwargs)
    return func(*args, **kwargs) if result is None else result


def _topk(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    chosen = func(*args, **kwargs)
    watch.know(chosen.indices, Choice(args[0].shape[-1]))
    return chosen


def _one_hot(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    columns: Tensor = func(*args, **kwargs)
    known = watch.known(args[0])
    watch.know(columns, known if isinstance(known, Choice) else Choice(columns.shape[-1]))
    return columns


def _total(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    known = watch.known(args[0])
    if not isinstance(known, Choice):
        return None
    totals = func(*args, **kwargs)
    watch.know(totals, replace(known, totals=True))
    return totals


def _listed(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return EqualShares(len(args[0])) if _is_count(args[0]) else None


def _split(watch: StorageWatch, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) < 2 or not isinstance(args[1], EqualShares):
        return None
    axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    return func(args[0], args[1].of(args[0].shape[axis]), axis)


ROUTED: dict[Any, Callable[..., Any]] = {
    torch.topk: _topk,
    Tensor.topk: _topk,
    F.one_hot: _one_hot,
    Tensor.sum: _total,
    torch.greater: _total,
    Tensor.tolist: _listed,
    Tensor.split: _split,
    torch.split: _split,
}


def _is_count(tensor: Tensor) -> bool:
    return tensor.device.type == "meta" and tensor.dim() == 1 and not tensor.is_floating_point()


def _nonzero(watch: StorageWatch, mask: Tensor) -> Tensor:
    known = watch.known(mask)
    if isinstance(known, Choice):
        found = mask.new_empty(known.places(mask), mask.dim(), dtype=torch.int64)
    elif mask.dim() == 1:
        found = mask.new_empty(mask.numel(), 1, dtype=torch.int64)
    else:
        raise NotImplementedError("how many of a mask's values hold depends on the values")
    watch.born(found)
    if mask.dim() == 1:
        watch.know(found, Positions())
    return found


def _index(watch: StorageWatch, tensor: Tensor, indices: list[Tensor | None]) -> Tensor:
    """CUDA finds the places where a mask holds before it gathers (aten/native/IndexingUtils.h)."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8) and index.device.type == "meta":
            places.extend(_nonzero(watch, index).unbind(1))
        else:
            places.append(index)
    result: Tensor = _aten.index.Tensor(tensor, places)
    return result
