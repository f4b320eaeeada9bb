"""Each story begins in a browser where nothing is kept; its pictures stand beside those of the other browser tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from browser.conftest import FIRST_COUNT_MS, ROOT, Watched
from browser.stories.visitor import Arrive, Visitor


@pytest.fixture
def arrive(chromium: Browser, server: str, request: pytest.FixtureRequest) -> Iterator[Arrive]:
    """Nothing that any of the people's pages does may reach beyond this machine or fail."""
    story = request.node.name.removeprefix("test_")
    watched: list[Watched] = []
    with ExitStack() as closing:

        def arrive(width: int, theme: str, fragment: str = "") -> Visitor:
            context = chromium.new_context(
                viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True
            )
            closing.callback(context.close)
            context.grant_permissions(["clipboard-read", "clipboard-write"])
            watched.append(Watched(context.new_page()))
            page = watched[-1].page
            page.goto(f"{server}/?__theme={theme}{fragment}")
            page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
            return Visitor(watched[-1], ROOT / "screenshots", f"story-{story}-{width}-{theme}")

        yield arrive
    assert [(each.elsewhere, each.complaints) for each in watched] == [([], [])] * len(watched)
