"""What an operator computes and moves, from its arguments and its result alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from math import prod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from lora_explorer.memory.watching.work import Moved, NumberType

_aten = torch.ops.aten
Formula = Callable[[Sequence[Any], dict[str, Any], Any], Iterable[Moved]]
Counter = Callable[[Sequence[Any], dict[str, Any], Any], int]

# They reserve memory or rename it. What is a view says so itself, but for this one.
_FREE = frozenset(
    {
        _aten._unsafe_view, _aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty,
        _aten.new_empty_strided, _aten.set_, _aten.resize_, _aten.lift_fresh, _aten._local_scalar_dense,
    }
)  # fmt: skip
# They write their first argument without having read it.
_OVERWRITING = frozenset(
    {_aten.copy_, _aten.zero_, _aten.fill_, _aten.normal_, _aten.uniform_, _aten.bernoulli_, _aten.random_}
)
# Where the left factor of a product stands; the result has its rows, and as many products each as it has columns.
_LEFT_FACTORS = {_aten.mm: 0, _aten.bmm: 0, _aten.addmm: 1, _aten.baddbmm: 1}
# They make tensors from the shape and type of their first argument.
_LIKE = frozenset(
    {
        _aten.zeros_like, _aten.ones_like, _aten.full_like, _aten.rand_like, _aten.randn_like, _aten.new_zeros,
        _aten.new_ones, _aten.new_full,
    }
)  # fmt: skip


class _Traits(NamedTuple):
    """What is known of an operator before it runs.

    is_free: it only renames or reserves memory. formula, count_flops: how its kernels and their products are counted,
    where they are. unread, written: positions and names of such arguments. makes: results of its own.
    """

    name: str
    is_free: bool
    formula: Formula | None
    count_flops: Counter | None
    unread: frozenset[int | str]
    written: tuple[tuple[int, str], ...]
    makes: bool


def moved_size(tensor: Tensor) -> int:
    """Bytes that a kernel passes over to read or write a tensor once; what is expanded is there once."""
    strides = tensor.stride()
    if 0 not in strides:
        return tensor.nbytes
    return prod(extent for extent, stride in zip(tensor.shape, strides, strict=True) if stride) * tensor.element_size()


def number_type_of(dtype: torch.dtype) -> NumberType:
    """A type of torch by its name; whole numbers are multiplied as int8 here."""
    if not dtype.is_floating_point and not dtype.is_complex:
        return "int8"
    return cast("NumberType", str(dtype).removeprefix("torch."))


def moves(name: str, *tensors: Tensor | None, flops: int = 0, number_type: NumberType = None) -> Moved:
    """A kernel that passes once over each of these tensors."""
    return Moved(name, [moved_size(tensor) for tensor in tensors if tensor is not None], flops, number_type)


def work_of(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any, device: str, formulas: dict[Any, Formula]
) -> Iterable[Moved]:
    """The kernels behind an operator on this device: none for one that only renames or reserves memory.

    formulas: of operators that are more than one kernel, or read less than all of their arguments.
    """
    traits = _traits(func)
    if traits.is_free:
        return ()
    formula = formulas.get(func) or traits.formula
    if formula is not None:
        return formula(args, kwargs, result)
    passed_over = _passed_over(traits, args, kwargs, result)
    sizes = [moved_size(tensor) for tensor in passed_over if tensor.device.type == device]
    if not sizes:
        return ()
    if traits.count_flops is None:
        return (Moved(traits.name, sizes),)
    return (Moved(traits.name, sizes, traits.count_flops(args, kwargs, result), _type_of_product(args)),)


def _passed_over(traits: _Traits, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Tensor]:
    """Every tensor that is read, then every one that is written."""
    found: list[Tensor] = []
    for place, value in enumerate(args):
        if place not in traits.unread:
            _gather(value, found)
    for name, value in kwargs.items():
        if name not in traits.unread:
            _gather(value, found)
    for position, name in traits.written:
        _gather(args[position] if position < len(args) else kwargs.get(name), found)
    if traits.makes:
        _gather(result, found)
    return found


def _gather(value: Any, found: list[Tensor]) -> None:
    """Tensors, in lists too, join those that were found."""
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _gather(each, found)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    _gather(values, found)
    return found


@cache
def _traits(func: Any) -> _Traits:
    arguments, packet = func._schema.arguments, func.overloadpacket
    return _Traits(
        name=packet.__name__,
        is_free=func.is_view or packet in _FREE,
        formula=_FORMULAS.get(packet),
        count_flops=_counter(packet) or _counter(_out_of_place(packet)),
        unread=frozenset({0, arguments[0].name} if arguments and packet in _OVERWRITING | _LIKE else ()),
        written=tuple(
            (position, argument.name)
            for position, argument in enumerate(arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ),
        makes=any(made.alias_info is None for made in func._schema.returns),
    )


def _out_of_place(packet: Any) -> Any:
    """The same operator with a result of its own, which makes as many products."""
    return getattr(_aten, packet.__name__.removesuffix("_"), None)


def _counter(packet: Any) -> Counter | None:
    """torch counts the same, but takes its arguments apart with care each time: most products are of these few."""
    if packet in _LEFT_FACTORS:
        return partial(_flops_of_product, _LEFT_FACTORS[packet])
    return partial(_flops_by_torch, flop_registry[packet]) if packet in flop_registry else None


def _flops_of_product(left: int, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> int:
    flops: int = 2 * result.numel() * args[left].shape[-1]
    return flops


def _flops_by_torch(count: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> int:
    flops: int = count(*args, **kwargs, out_val=result)
    return flops


def _type_of_product(args: Sequence[Any]) -> NumberType:
    return number_type_of(next(each.dtype for each in args if isinstance(each, Tensor)))


def _gathered(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Moved]:
    """Of a table only the rows that are asked for are read."""
    indices = _tensors(args[1:])
    return [moves("gather", *indices, result, result)]


def _scattered(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Moved]:
    """Of the target only the places that are met are read and written."""
    given = _tensors([*args[1:], *kwargs.values()])
    return [moves("scatter", *given, given[-1], given[-1])]


def _picked_loss(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Moved]:
    """One value of each row is read."""
    target = args[1]
    return [Moved("nll_loss", [moved_size(target), target.numel() * args[0].element_size()])]


def _picked_loss_gradient(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Moved]:
    """Zeros, and one value in each row."""
    return [moves("nll_loss_backward", args[2], result)]


_FORMULAS: dict[Any, Formula] = {
    _aten.embedding: _gathered,
    _aten.index: _gathered,
    _aten.index_select: _gathered,
    _aten.gather: _gathered,
    _aten.index_put_: _scattered,
    _aten.index_add_: _scattered,
    _aten.scatter_: _scattered,
    _aten.scatter_add_: _scattered,
    _aten.nll_loss_forward: _picked_loss,
    _aten.nll_loss_backward: _picked_loss_gradient,
}
