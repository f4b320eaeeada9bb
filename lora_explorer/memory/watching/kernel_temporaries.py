"""What CUDA kernels allocate inside themselves, which no operator call shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_aten = torch.ops.aten


def _softmax_product_bytes(gradient: torch.Tensor, *_: object) -> int:
    # CUDA's softmax backward multiplies gradient and output into a temporary before its kernel runs
    # (aten/native/cuda/SoftMax.cu); the meta kernel only knows the result.
    return gradient.numel() * gradient.element_size()


# From this many tokens on CUDA sorts them by row before it sums their gradients (aten/native/cuda/Embedding.cu).
FEWEST_SORTED_TOKENS = 3073
# Gradients that one thread block adds up (aten/native/cuda/EmbeddingBackwardKernel.cu).
_ROWS_PER_BLOCK = 10


def _embedding_sum_bytes(gradient: torch.Tensor, indices: torch.Tensor, rows: int, *_: object) -> int:
    # Partial sums in float32, for as many pieces as the sorted tokens can fall into, and tables of where they begin.
    tokens, width = indices.numel(), gradient.shape[-1]
    if tokens < FEWEST_SORTED_TOKENS:
        return 0
    segments = min(tokens, rows)
    pieces = tokens // _ROWS_PER_BLOCK + segments
    tables = 3 * tokens + 2 * segments + pieces
    return pieces * width * max(gradient.element_size(), 4) + tables * indices.element_size()


def _sorting_bytes(
    target: torch.Tensor,
    indices: list[torch.Tensor | None],
    values: torch.Tensor,
    accumulate: bool = False,  # noqa: FBT001 - torch's own signature
    *_: object,
) -> int:
    # To add up in order CUDA sorts the indices: four tables and the sort's second copy of keys and values, in 64 bits
    # (aten/native/cuda/Indexing.cu, index_put_with_sort_kernel).
    return 6 * 8 * max((index.numel() for index in indices if index is not None), default=0) if accumulate else 0


def _dense_copy_bytes(*tensors: object) -> int:
    # Convolutions want their operands contiguous and copy what is not (aten/native/Convolution.cpp).
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in tensors
        if isinstance(tensor, torch.Tensor) and not tensor.is_contiguous()
    )


def _exponential_bytes(values: torch.Tensor, *_: object) -> int:
    # The exponentials are made before they are summed (aten/native/ReduceOps.cpp, logsumexp_out_impl).
    return values.numel() * values.element_size()


# By operator: bytes from its arguments, there while it runs.
INNER_TEMPORARIES: dict[Any, Callable[..., int]] = {
    _aten._softmax_backward_data.default: _softmax_product_bytes,
    _aten.embedding_dense_backward.default: _embedding_sum_bytes,
    _aten.index_put_.default: _sorting_bytes,
    _aten.convolution.default: _dense_copy_bytes,
    _aten.convolution_backward.default: _dense_copy_bytes,
    _aten.logsumexp.default: _exponential_bytes,
}
