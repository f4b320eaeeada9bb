"""The page stays light: what a first visit loads, how soon something is seen, and how much stands on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from browser.conftest import FIRST_COUNT_MS

pytestmark = pytest.mark.browser

FIRST_PAINT_MS = 2000
TRIES = 8
"""A machine that does much else paints late now and then; a page that is too heavy does so always."""
MOST_BYTES, MOST_REQUESTS, MOST_ELEMENTS = 1_500_000, 120, 3500
LOADED_JS = """() => {
  const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return {
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity,
    bytes: all.reduce((sum, one) => sum + one.encodedBodySize, 0),
    names: all.map((one) => one.name),
    elements: document.querySelectorAll("*").length,
  };
}"""


@pytest.fixture
def visits(chromium: Browser, server: str) -> Iterator[Any]:
    """Opens the page in a browser that has kept nothing of it."""

    def visit(until: str) -> Page:
        context = chromium.new_context(viewport={"width": 1440, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.goto(server)
        page.wait_for_selector(until, timeout=FIRST_COUNT_MS)
        return page

    contexts: list[Any] = []
    yield visit
    for context in contexts:
        context.close()


def test_something_is_seen_within_two_seconds(visits: Any) -> None:
    paints: list[float] = []
    while not paints or (min(paints) > FIRST_PAINT_MS and len(paints) < TRIES):
        paints.append(visits("#trainable-params").evaluate(LOADED_JS)["paint"])
    assert min(paints) <= FIRST_PAINT_MS, paints


def test_a_first_visit_loads_little_and_nothing_of_plotly(visits: Any) -> None:
    loaded = visits("#cards .chip").evaluate(LOADED_JS)
    assert loaded["bytes"] <= MOST_BYTES
    assert len(loaded["names"]) <= MOST_REQUESTS
    assert [name for name in loaded["names"] if "plotly" in name.lower()] == []
    assert loaded["elements"] <= MOST_ELEMENTS
