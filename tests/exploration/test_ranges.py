"""Ranges are read as they are typed, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.errors import SweepRefused
from lora_explorer.exploration.ranges import MOST_VALUES, values_in


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4..64x2", (4, 8, 16, 32, 64)),
        ("4..100 x2", (4, 8, 16, 32, 64)),
        ("1..4", (1, 2, 3, 4)),
        ("1024..4096 +1024", (1024, 2048, 3072, 4096)),
        ("8, 16,32", (8, 16, 32)),
        ("1,2,4..16 x2", (1, 2, 4, 8, 16)),
        ("8,8,4..8 x2", (8, 4)),
        ("true,false", (True, False)),
        ("1,true", (1, True)),
        ("[q_proj, v_proj],[q_proj]", (["q_proj", "v_proj"], ["q_proj"])),
        ("'a,b',c", ("a,b", "c")),
        ("{a: 1, b: 2}", ({"a": 1, "b": 2},)),
        ("2e-4,1e-4", (2e-4, 1e-4)),
        ("null,sdpa", (None, "sdpa")),
        ("0.1..0.3 +0.1", (0.1, 0.2, 0.3)),
        ("1..8 x1.5", (1, 2, 3, 5, 8)),
    ],
)
def test_a_range_is_read_as_it_is_typed(text: str, values: tuple[object, ...]) -> None:
    found = values_in(text, "lora_r")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "8..4",
        "1..8 x1",
        "1..8 x0.5",
        "0..8 x2",
        "1..8 +0",
        "1..8 +-1",
        "1..100000",
        "1..9999999999999999999999",
        "1e999..2e999",
        "[a",
        "&a [*a]",
        "x" * 5000,
    ],
)
def test_what_is_no_range_gets_one_sentence_about_its_setting(text: str) -> None:
    with pytest.raises(SweepRefused) as refused:
        values_in(text, "lora_r")
    (finding,) = refused.value.findings
    assert finding.setting == "lora_r"
    assert re.fullmatch(r"lora_r: .*[.]", finding.message)


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        found = values_in(text, "lora_r")
    except SweepRefused:
        return
    assert 0 < len(found) <= MOST_VALUES


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(2, 9))
def test_a_range_that_multiplies_has_that_ratio(first: int, more: int, factor: int) -> None:
    found = values_in(f"{first}..{first + more} x{factor}", "lora_r")
    assert found[0] == first
    assert all(after == factor * before for before, after in pairwise(found))
    assert found[-1] <= first + more < factor * found[-1]
