"""Every tab is held against the rules of axe-core, which knows what screen readers and weak eyes need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from browser.reading import TABS, WAITED_FOR, open_tab

pytestmark = pytest.mark.browser

OPEN_ALL_JS = """() => {
  for (const summary of document.querySelectorAll("[role=tabpanel] details:not([open]) > summary"))
    if (summary.offsetParent) summary.click();
}"""
THERE = {
    "Presets": ".preset",
    "Compare": "table.comparing",
    "Preview": "#preview-plan-card .plan-what",
    "YAML": ".cm-line",
}
"""What is waited for in a tab that is filled when it is opened."""
GRAVE = ("serious", "critical")
WAIT_MS = 180_000


@pytest.fixture(params=[(1440, "light"), (390, "dark")], ids="{0[0]}-{0[1]}".format)
def pinned(request: pytest.FixtureRequest, chromium: Browser, server: str) -> Iterator[Page]:
    """The page with its charts and one configuration pinned; nothing moves."""
    width, theme = request.param
    context = chromium.new_context(
        viewport={"width": width, "height": 1000}, color_scheme=theme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{server}/?__theme={theme}")
    expect(page.locator("#cards .chip")).not_to_have_count(0, timeout=WAIT_MS)
    page.locator("#pin").click()
    yield page
    context.close()


def graves(page: Page) -> list[tuple[str, Any, str]]:
    """What axe-core finds that keeps somebody from using the page: the rule, where, and why."""
    page.wait_for_function(f"() => !document.querySelector('{WAITED_FOR}')", timeout=WAIT_MS)
    options = {"resultTypes": ["violations"]}
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in Axe().run(page, options=options).response["violations"]
        for node in violation["nodes"]
        if violation["impact"] in GRAVE
    ]


def test_axe_finds_nothing_serious_in_any_tab(pinned: Page) -> None:
    found = {}
    for tab in TABS:
        open_tab(pinned, tab)
        expect(pinned.locator(THERE.get(tab, "#answers")).first).to_be_visible(timeout=WAIT_MS)
        pinned.evaluate(OPEN_ALL_JS)
        found[tab] = graves(pinned)
    assert {tab: faults for tab, faults in found.items() if faults} == {}


def test_axe_finds_nothing_serious_in_what_a_setting_tells_about_itself_and_would_find_a_fault(pinned: Page) -> None:
    pinned.locator('[id="lora_r"] .about').click()
    expect(pinned.locator(".about-said .effects")).to_be_visible(timeout=WAIT_MS)
    assert graves(pinned) == []
    pinned.evaluate("document.querySelector('#answers').insertAdjacentHTML('afterbegin', '<button></button>')")
    assert [rule for rule, _, _ in graves(pinned)] == ["button-name"]
