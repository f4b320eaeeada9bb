"""Sizes as exact polynomials of batch, length and rank, read off three traces.

The size of a storage is a product of its extents, and each extent is a constant, the batch, the length, the rank or
one of them with a constant beside it. So the size is one monomial c · batch^i · length^j · rank^k, or the sum of two.
Two traces whose coordinates have no common ratio tell which; a third one has to agree. A size that no such sum
explains, or more than one, has no law. All numbers are whole, and so is the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from lora_explorer.memory.watching.trace import Whole
from lora_explorer.memory.watching.work import MOST_COUNTED

# Lengths at which kernels round their tiles; a law holds for lengths that leave the same remainder.
TILE_TOKENS = 128

Powers = tuple[int, int, int]
Law = tuple[tuple[Fraction, Powers], ...]


class Point(NamedTuple):
    """Where a step was traced: rows, tokens in a row and rank."""

    rows: int
    tokens: int
    rank: int

    def monomial(self, powers: Powers) -> int:
        value = 1
        for extent, power in zip(self, powers, strict=True):
            value *= extent**power
        return value


class NoLaw(Exception):
    """A size does not follow batch, length and rank in a way that three traces show."""


@dataclass
class SizeLaw:
    """The laws of many numbers. kinds: for every number the place of its law. low, high: where they have been seen."""

    laws: list[Law]
    kinds: Whole
    low: Point
    high: Point

    def covers(self, point: Point) -> bool:
        """Whether the point lies between those that were traced, at a length that leaves the same remainder."""
        inside = all(low <= extent <= high for low, extent, high in zip(self.low, point, self.high, strict=True))
        return inside and (point.tokens - self.low.tokens) % TILE_TOKENS == 0

    def numbers_at(self, point: Point) -> Whole:
        """All numbers there. Raises NoLaw where one would not be whole, or too large to be counted."""
        monomial = cache(point.monomial)
        return np.array([_value(law, monomial) for law in self.laws], np.int64)[self.kinds]

    def widen(self, point: Point) -> None:
        """The laws hold there too, as a trace has shown."""
        self.low = Point(*map(min, self.low, point))
        self.high = Point(*map(max, self.high, point))


def size_law(traced: Mapping[Point, Whole]) -> SizeLaw:
    """The laws behind the numbers of three traces. Raises NoLaw."""
    points = sorted(traced)
    if len(points) != 3:
        raise NoLaw
    columns, kinds = np.unique(np.stack([traced[point] for point in points]), axis=1, return_inverse=True)
    moving = [len({point[axis] for point in points}) > 1 for axis in range(3)]
    rows, tokens, rank = (range(most + 1) if moves else range(1) for most, moves in zip((1, 2, 1), moving, strict=True))
    powers = list(product(rows, tokens, rank))
    laws = [_law(points, column, powers) for column in columns.T.tolist()]
    low, high = Point(*map(min, *points)), Point(*map(max, *points))
    return SizeLaw(laws, kinds.reshape(-1), low, high)


def _law(points: Sequence[Point], values: Sequence[int], powers: Sequence[Powers]) -> Law:
    if len(set(values)) == 1:
        return ((Fraction(values[0]), (0, 0, 0)),)
    found = list(_monomials(points, values, powers)) or list(_binomials(points, values, powers))
    if len(found) != 1:
        raise NoLaw
    return found[0]


def _monomials(points: Sequence[Point], values: Sequence[int], powers: Sequence[Powers]) -> Iterator[Law]:
    for each in powers:
        factor = Fraction(values[0], points[0].monomial(each))
        if all(factor * point.monomial(each) == value for point, value in zip(points, values, strict=True)):
            yield ((factor, each),)


def _binomials(points: Sequence[Point], values: Sequence[int], powers: Sequence[Powers]) -> Iterator[Law]:
    for one, other in combinations(powers, 2):
        (a, b), (c, d) = ((point.monomial(one), point.monomial(other)) for point in (points[0], points[-1]))
        if a * d != b * c:
            x = Fraction(values[0] * d - b * values[-1], a * d - b * c)
            y = Fraction(a * values[-1] - values[0] * c, a * d - b * c)
            if x * points[1].monomial(one) + y * points[1].monomial(other) == values[1]:
                yield ((x, one), (y, other))


def _value(law: Law, monomial: Callable[[Powers], int]) -> int:
    """In whole numbers over a common denominator, which takes a fraction of the time that sums of fractions take."""
    numerator, denominator = 0, 1
    for factor, powers in law:
        numerator = numerator * factor.denominator + factor.numerator * monomial(powers) * denominator
        denominator *= factor.denominator
    value, rest = divmod(numerator, denominator)
    if rest or not 0 <= value <= MOST_COUNTED:
        raise NoLaw
    return value
