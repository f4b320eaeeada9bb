"""Mixtures of experts: grouped products, whose sizes do not depend on how tokens are routed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lora_explorer.memory.kernels.routing import routing_forms
from lora_explorer.memory.watching.watch import StorageWatch

# transformers' implementation that sorts tokens by expert and multiplies all groups at once.
IMPLEMENTATION = "grouped_mm"


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
