"""Mixtures of experts: grouped products, whose sizes do not depend on how tokens are routed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lora_explorer.memory.kernels.routing import routing_forms
from lora_explorer.memory.watching.operator_work import Formula, moves, number_type_of
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.memory.watching.work import Moved

# transformers' implementation that sorts tokens by expert and multiplies all groups at once.
IMPLEMENTATION = "grouped_mm"
# What a kernel is called that multiplies tokens with the weights of their experts.
EXPERT_PRODUCT = "expert_mm"


def grouped_forms() -> dict[Any, Any]:
    """What stands for the grouped product on meta, whose own kernel takes bfloat16 only, and for routing by value."""
    return {torch.ops.aten._grouped_mm.default: _grouped_product, **routing_forms()}


def looped_product(left: Tensor, right: Tensor, *, offs: Tensor, **_: Any) -> Tensor:
    """transformers' own product, expert by expert, below compute capability 8.0 (integrations/moe.py).

    Its backward makes the gradient of all expert weights, trained or not.
    """
    import transformers.integrations.moe  # noqa: F401 - registers the operator

    product: Tensor = torch.ops.transformers.grouped_mm_fallback(left, right, offs)
    return product


def _grouped_product(
    watch: StorageWatch, left: Tensor, right: Tensor, offs: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    """Tokens by expert x expert weights, or the products of two stacks of tokens, one for each expert."""
    rows, columns = left.shape[-2], right.shape[-1]
    if left.dim() == right.dim() == 2 and offs is not None:
        return left.new_empty(offs.shape[0], rows, columns)
    if left.dim() == right.dim():
        return left.new_empty(left.shape[0], rows, columns)
    return left.new_empty(rows, columns)


def grouped_formulas() -> dict[Any, Formula]:
    """What the products over experts compute: every token meets the weights of its own experts only."""
    import transformers.integrations.moe  # noqa: F401 - registers the operators

    fallback = torch.ops.transformers
    return {
        torch.ops.aten._grouped_mm.default: _grouped_work,
        fallback.grouped_mm_fallback.default: _looped_work,
        fallback.grouped_mm_fallback_backward.default: _looped_gradient_work,
    }


def _grouped_work(args: Sequence[Any], kwargs: dict[str, Any], result: Tensor) -> list[Moved]:
    left, right = args[0], args[1]
    if left.dim() == right.dim() == 3:
        flops = 2 * left.numel() * right.shape[-1]
    else:
        # Rows, or what is summed over, are shared out among the experts.
        flops = 2 * left.shape[-2] * left.shape[-1] * right.shape[-1]
    return [moves(EXPERT_PRODUCT, left, right, result, flops=flops, number_type=number_type_of(left.dtype))]


def _looped_work(args: Sequence[Any], kwargs: dict[str, Any], result: Tensor) -> list[Moved]:
    left, right = args[0], args[1]
    return _one_by_one(right.shape[0], 2 * left.numel() * right.shape[-1], left, right, result)


def _looped_gradient_work(args: Sequence[Any], kwargs: dict[str, Any], result: Sequence[Tensor]) -> list[Moved]:
    """Both gradients, whether the weights are trained or not."""
    left, right, _, gradient = args[:4]
    flops = 2 * left.numel() * right.shape[-1]
    return [
        *_one_by_one(right.shape[0], flops, gradient, right, result[0]),
        *_one_by_one(right.shape[0], flops, left, gradient, result[1]),
    ]


def _one_by_one(experts: int, flops: int, *moved: Tensor) -> list[Moved]:
    """A product for each expert, told of as one kernel and `experts - 1` that have nothing left to do."""
    whole = moves(EXPERT_PRODUCT, *moved, flops=flops, number_type=number_type_of(moved[0].dtype))
    return [whole, *(Moved(EXPERT_PRODUCT, [0], number_type=whole.number_type) for _ in range(experts - 1))]
