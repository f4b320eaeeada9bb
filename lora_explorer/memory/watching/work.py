"""What the kernels of a step compute and move, as plain numbers beside the births and deaths of its storages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
# What an array of whole numbers holds.
MOST_COUNTED = (1 << 63) - 1
Stage = Literal["forward", "recomputation", "backward", "optimizer"]
# Types in which a product is made, as torch names them; None for a kernel that only moves.
NumberType = Literal["bfloat16", "float16", "float32", "float64", "int8"] | None


# Copies over the link to the host's memory and back; they are kernels of their own engine.
TO_HOST = "copy to the host"
FROM_HOST = "copy from the host"


class Attends(NamedTuple):
    """Which pairs of tokens an attention kernel computes.

    causal: no token looks ahead. window: how many tokens back it looks at most, itself counted; None for all.
    keeps_apart: packed documents are separate sequences to the kernel; one that takes a mask computes what is masked.
    """

    causal: bool
    window: int | None = None
    keeps_apart: bool = False

    def pairs(self, tokens: int, document_tokens: int | None = None) -> float:
        """Pairs in a row of so many tokens. document_tokens: of each document in a packed row."""
        if not self.keeps_apart or document_tokens is None or document_tokens >= tokens:
            return self._pairs_of_one(tokens)
        return tokens / document_tokens * self._pairs_of_one(document_tokens)

    def _pairs_of_one(self, tokens: int) -> int:
        """A token looks at itself and, on either side that it may look to, at those within the window."""
        reach = tokens - 1 if self.window is None else min(self.window, tokens) - 1
        to_one_side = reach * (reach - 1) // 2 + (tokens - reach) * reach
        return tokens + (1 if self.causal else 2) * to_one_side


class Operation(NamedTuple):
    """One kernel, all but its numbers.

    name: the operator's. attends: of an attention kernel, whose numbers are those of one pair of tokens.
    segment: its place among the segments of the trace; -1 for one outside. tensors: how many it reads and writes.
    """

    name: str
    number_type: NumberType
    stage: Stage
    segment: int
    tensors: int
    attends: Attends | None = None


@dataclass(frozen=True, eq=False)
class Work:
    """All kernels of a step in their order.

    flops: (operations,) multiplications and additions of matrix products, convolutions and attention; of an attention
    kernel for each pair of tokens that it computes. tokens: (operations,) in a row of an attention kernel, else 0.
    moved_bytes: (tensors,) of each tensor that a kernel reads or writes, those of one kernel side by side.
    """

    operations: tuple[Operation, ...] = ()
    flops: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    tokens: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    moved_bytes: Whole = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def numbers(self) -> Whole:
        """Everything of it that depends on sizes."""
        return np.concatenate([self.flops, self.tokens, self.moved_bytes])

    def with_numbers(self, numbers: Whole) -> Work:
        """The same kernels with other numbers, in the order of `numbers`."""
        count = len(self.operations)
        return Work(self.operations, numbers[:count], numbers[count : 2 * count], numbers[2 * count :])

    @cached_property
    def bytes_of_operations(self) -> Whole:
        """(operations,) bytes read and written by each kernel."""
        return np.add.reduceat(np.append(self.moved_bytes, 0), self._starts) if self.operations else self.moved_bytes

    @property
    def _starts(self) -> Whole:
        counts = np.array([operation.tensors for operation in self.operations], np.int64)
        return np.cumsum(counts) - counts


class Moved(NamedTuple):
    """A kernel as it is told of: see Operation and Work for the fields."""

    name: str
    moved_bytes: Sequence[int]
    flops: int = 0
    number_type: NumberType = None
    attends: Attends | None = None
    tokens: int = 0
