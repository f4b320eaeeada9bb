"""Regexes for numbers and names match these and no others; endings name what they should and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.exploration.layer_map.endings import shortest_endings
from lora_explorer.exploration.layer_map.regexes import name_regex, number_regex


@given(st.sets(st.integers(0, 1200), min_size=1, max_size=80))
def test_a_regex_of_numbers_matches_exactly_these(numbers: set[int]) -> None:
    regex = number_regex(numbers)
    assert {number for number in range(1300) if re.fullmatch(regex, str(number))} == numbers
    assert not any(re.fullmatch(regex, f"0{number}") for number in numbers)


@pytest.mark.parametrize(
    ("numbers", "regex"),
    [
        (range(16), r"(\d|1[0-5])"),
        (range(16, 32), r"(1[6-9]|2\d|3[01])"),
        ([3], "3"),
        ([0, 1], "[01]"),
        (range(0, 126), r"(\d|[1-9]\d|1[01]\d|12[0-5])"),
    ],
    ids=str,
)
def test_a_regex_of_numbers_is_as_a_person_would_write_it(numbers: range | list[int], regex: str) -> None:
    assert number_regex(numbers) == regex


@given(st.lists(st.from_regex(r"[a-z]{1,4}(_[a-z]{1,4})?", fullmatch=True), min_size=1, max_size=8, unique=True))
def test_a_regex_of_names_matches_exactly_these(names: list[str]) -> None:
    regex = name_regex(names)
    others = [f"{name}x" for name in names] + [name[:-1] for name in names] + ["zz_zz"]
    assert all(re.fullmatch(regex, name) for name in names)
    assert not any(re.fullmatch(regex, other) for other in others if other not in names)


PATHS = st.lists(st.sampled_from("abc01"), min_size=1, max_size=4).map(".".join)


@given(st.sets(PATHS, min_size=1, max_size=20), st.data())
def test_endings_name_the_wanted_paths_and_no_others(paths: set[str], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(sorted(paths)), min_size=1))
    others = paths - wanted
    endings = shortest_endings(sorted(wanted), others)
    assert {path for path in paths if _is_named(path, endings)} >= wanted
    reached = {path for path in others if _is_named(path, endings)}
    # Only a path that ends with the whole of a wanted one cannot be told from it.
    assert all(any(path.endswith(f".{whole}") for whole in wanted) for path in reached)


def _is_named(path: str, endings: tuple[str, ...]) -> bool:
    return any(path == ending or path.endswith(f".{ending}") for ending in endings)
