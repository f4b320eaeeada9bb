"""Two texts laid over each other."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.report.yaml_tab.difference import difference

LINES = st.lists(st.sampled_from(["lora_r: 8", "lora_r: 16", "# note", "adapter: lora", "<b>&"]), max_size=12)


def lines_of(html: str, kind: str) -> list[tuple[int, str]]:
    found = re.findall(rf'<li class="{kind}"><b>(\d+)</b>.*?<code>(.*?)</code>', html)
    return [(int(number), text) for number, text in found]


def test_equal_texts_say_so() -> None:
    assert "Nothing differs from the file you opened." in difference("a: 1\n", "a: 1\n", "the file you opened")


def test_a_changed_line_is_shown_gone_and_new_with_its_neighbours() -> None:
    before, after = "a: 1\nb: 2\nc: 3\n", "a: 1\nb: 5\nc: 3\n"
    html = difference(before, after, "x")
    assert lines_of(html, "gone") == [(2, "b: 2")]
    assert lines_of(html, "new") == [(2, "b: 5")]
    assert lines_of(html, "same") == [(1, "a: 1"), (3, "c: 3")]


def test_markup_in_a_file_stays_text() -> None:
    assert "<script>" not in difference("", "x: <script>\n", "x")


@given(LINES, LINES)
def test_what_came_and_went_makes_one_text_of_the_other(old: list[str], new: list[str]) -> None:
    html = difference("\n".join(old), "\n".join(new), "x")
    gone = {number for number, _ in lines_of(html, "gone")}
    came = {number for number, _ in lines_of(html, "new")}
    stayed = [line for number, line in enumerate(old, 1) if number not in gone]
    assert stayed == [line for number, line in enumerate(new, 1) if number not in came]
