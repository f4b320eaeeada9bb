"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.report import words


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1 KiB"), (335_544_320, "320 MiB"), (4_538_236_928, "4.23 GiB")],
)
def test_sizes_are_told_in_the_largest_unit_that_leaves_a_digit(size_bytes: int, text: str) -> None:
    assert words.file_size(size_bytes) == text


@given(st.integers(min_value=1, max_value=10**15))
def test_a_size_in_words_is_within_half_a_percent_of_the_size(size_bytes: int) -> None:
    number, unit = words.file_size(size_bytes).split()
    told = float(number.replace(",", "")) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit)
    assert told == pytest.approx(size_bytes, rel=0.0051)


@given(st.integers(min_value=0, max_value=10**13))
def test_an_exact_count_loses_no_digit(count: int) -> None:
    assert int(words.exact_count(count).replace(",", "")) == count


@given(st.floats(min_value=1e-6, max_value=100))
def test_a_percentage_keeps_three_digits_that_count(percent: float) -> None:
    assert float(words.percent(percent).removesuffix(" %")) == pytest.approx(percent, rel=5e-3)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((3,), "3"), ((0, 1, 2, 3), "0–3"), ((0, 1, 5, 7, 8), "0–1, 5, 7–8"), ((2, 1, 0), "0–2")],
)
def test_runs_of_numbers_are_told_as_spans(numbers: tuple[int, ...], text: str) -> None:
    assert words.spans(numbers) == text


def test_one_module_is_not_told_in_the_plural() -> None:
    assert (words.counted(1, "module"), words.counted(224, "module")) == ("1 module", "224 modules")


@pytest.mark.parametrize(("value", "text"), [(2.314, "2.31"), (998.7, "999"), (4921.6, "4,922"), (2e-5, "2e-05")])
def test_a_large_number_on_an_axis_is_written_whole(value: float, text: str) -> None:
    assert words.short_number(value) == text
