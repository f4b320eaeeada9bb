"""The tour as it is built: a handful of stops in short sentences, each about something that is on the page."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.ui.page import build_page
from lora_explorer.ui.tour import STOPS


@pytest.fixture(scope="module")
def ids() -> set[Any]:
    return {component["props"].get("elem_id") for component in build_page().get_config_file()["components"]}


def test_it_takes_two_minutes_at_most() -> None:
    assert 6 <= len(STOPS) <= 8
    # At the 200 words a minute of a slow reader, and 8 seconds a stop to look.
    words = sum(len(stop.text.split()) for stop in STOPS)
    assert words / 200 * 60 + 8 * len(STOPS) <= 150


def test_its_sentences_are_short_and_each_stop_has_its_own() -> None:
    assert len({stop.title for stop in STOPS}) == len({stop.text for stop in STOPS}) == len(STOPS)
    assert all(len(stop.text) <= 170 and stop.text.endswith(".") and "!" not in stop.text for stop in STOPS)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.title)
def test_every_stop_is_about_something_on_the_page(stop: Any, ids: set[Any]) -> None:
    for mark in stop.marks:
        if mark.startswith("#") and mark != "#pin":
            assert mark.partition(" ")[0].removeprefix("#") in ids
