"""Sizes read off three traces: right wherever they follow a product or a sum of two, refused where they do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from lora_explorer.memory.runs.size_law import NoLaw, Point, SizeLaw, size_law

SMALL, LARGE = Point(2, 384, 5), Point(67, 33536, 257)
firsts = st.builds(Point, st.sampled_from([4, 8, 16]), st.integers(4, 60).map(lambda n: 128 * n), st.integers(8, 250))
inside = st.builds(Point, st.integers(2, 67), st.integers(3, 262).map(lambda n: 128 * n), st.integers(5, 257))
monomials = st.tuples(st.integers(1, 1 << 16), st.integers(0, 1), st.integers(0, 2), st.integers(0, 1))  # below 2**63


def law_of(first: Point, *sizes: Callable[[Point], int]) -> SizeLaw:
    return size_law({at: np.array([size(at) for size in sizes], np.int64) for at in (first, SMALL, LARGE)})


@given(firsts, inside, st.lists(monomials, min_size=1, max_size=8))
def test_products_are_found_whatever_their_factor_and_powers(
    first: Point, at: Point, factors: list[tuple[int, int, int, int]]
) -> None:
    def size(factor: tuple[int, int, int, int]) -> Callable[[Point], int]:
        return lambda p: factor[0] * p.rows ** factor[1] * p.tokens ** factor[2] * p.rank ** factor[3]

    sizes = [size(factor) for factor in factors]
    law = law_of(first, *sizes)
    assert law.covers(at)
    assert law.numbers_at(at).tolist() == [each(at) for each in sizes]


@given(firsts, inside)
def test_sums_of_two_products_are_found_and_halves_stay_exact(first: Point, at: Point) -> None:
    sizes: list[Callable[[Point], int]] = [
        lambda p: 8 * p.rows * (p.tokens + 1),
        lambda p: 4 * p.rows * (p.tokens - 1) * 32000,
        lambda p: p.rows * p.tokens // 2,
        lambda p: 4096 * (p.rank + 1) * 4,
    ]
    try:
        law = law_of(first, *sizes)
    except NoLaw:
        # Seldom three points lie on two sums at once; that is refused, and never guessed.
        reject()
    assert law.numbers_at(at).tolist() == [size(at) for size in sizes]


@pytest.mark.parametrize(
    "size",
    [
        lambda p: p.rows * min(p.tokens, 4096),
        lambda p: p.rows * max(p.tokens - 4096, 1),
        lambda p: p.rows * -(-p.tokens // 256) * 256,
        lambda p: p.rows * -(-p.tokens // 1024) * 1024,
        lambda p: -(-p.rank // 8) * 8,
        lambda p: 1 << (p.rows * p.tokens - 1).bit_length(),
        lambda p: p.rows * p.tokens * p.rank + p.rows + p.tokens + p.rank,
        lambda p: p.rows**2,
    ],
    ids=[
        "window",
        "beyond a window",
        "tiles of 256",
        "tiles of 1024",
        "ranks padded",
        "power of two",
        "four",
        "square",
    ],
)
@pytest.mark.parametrize("first", [Point(4, 2048, 16), Point(4, 4096, 32), Point(8, 8192, 24)])
def test_what_rounds_or_bends_has_no_law(size: Callable[[Point], int], first: Point) -> None:
    with pytest.raises(NoLaw):
        law_of(first, size)


def test_lengths_that_leave_another_remainder_and_points_outside_are_not_covered() -> None:
    law = law_of(Point(4, 2048, 16), lambda p: p.rows * p.tokens)
    assert law.covers(Point(5, 1024, 100))
    for outside in (Point(5, 1000, 100), Point(1, 1024, 100), Point(5, 128, 100), Point(5, 1024, 300)):
        assert not law.covers(outside)
    law.widen(Point(1, 128, 300))
    assert law.covers(Point(1, 128, 300))


def test_a_size_that_would_not_be_whole_is_refused() -> None:
    law = law_of(Point(4, 2048, 16), lambda p: p.rows * p.tokens * 64, lambda p: p.tokens * 3 // 128)
    with pytest.raises(NoLaw):
        law.numbers_at(Point(4, 2049, 16))
