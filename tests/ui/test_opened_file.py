"""The file a visitor opened comes from the page, so it is read like any stranger's input."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.ui.opened_file import DEFAULT_NAME, OpenedFile


@pytest.mark.parametrize("name", ["my.yml", "My Run (2).YAML", "größe.yml"])
def test_a_file_keeps_its_name(name: str) -> None:
    assert OpenedFile.from_page({"name": name, "text": "a: 1"}) == OpenedFile(name, "a: 1")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("C:\\fakepath\\a.yml", "a.yml"),
        ("../../etc/a.yml", "a.yml"),
        ("a.exe", DEFAULT_NAME),
        ("a\n.yml", DEFAULT_NAME),
        ("\u202egnp.yml", DEFAULT_NAME),
        ("x" * 300 + ".yml", DEFAULT_NAME),
        (7, DEFAULT_NAME),
        (None, DEFAULT_NAME),
        ("", DEFAULT_NAME),
        ([".yml"], DEFAULT_NAME),
    ],
)
def test_a_name_that_no_terminal_should_see_is_left_out(name: Any, kept: str) -> None:
    assert OpenedFile.from_page({"name": name}).name == kept


@pytest.mark.parametrize("value", [None, 7, "a: 1", [], {"text": 7}, {"text": "x" * (1 << 19)}])
def test_what_is_no_file_is_none(value: Any) -> None:
    assert OpenedFile.from_page(value).text is None


def test_what_goes_to_the_page_comes_back() -> None:
    file = OpenedFile("a.yml", "a: 1")
    assert OpenedFile.from_page(file.for_page()) == file
