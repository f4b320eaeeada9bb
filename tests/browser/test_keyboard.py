"""The page's main way, walked without a mouse: where the keyboard is can be seen at every stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.reading import trainable_params

pytestmark = pytest.mark.browser

MOST_STOPS = 300
WAIT_MS = 180_000
# An outline around it or around the field that it stands in, within the window, and not behind what stays on top.
STOP_JS = """(wanted) => {
  const at = document.activeElement, { left, top, width, height } = at.getBoundingClientRect();
  const around = [at, at.parentElement, at.closest("label, .wrap")].filter(Boolean).map((one) => getComputedStyle(one));
  const outlined = around.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth));
  const over = document.elementFromPoint(left + width / 2, top + height / 2);
  // What was just pinned is told over whatever lies there, for a moment.
  const lid = over?.closest(".pin-said") ? null : over?.closest("#header, #headline, .tab-wrapper");
  return {
    name: at.outerHTML.slice(0, 120), found: at.matches(wanted), away: at === document.body,
    seen: Boolean(outlined && over && (!lid || lid.contains(at))),
  };
}"""


@pytest.fixture
def walked(chromium: Browser, server: str) -> Iterator[Page]:
    context = chromium.new_context(
        viewport={"width": 1440, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.goto(server)
    expect(page.locator("#cards .chip")).not_to_have_count(0, timeout=WAIT_MS)
    yield page
    context.close()


def walk_to(page: Page, wanted: str, key: str = "Tab") -> None:
    """Press the key until the keyboard is at what is wanted."""
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        stop = page.evaluate(STOP_JS, wanted)
        # Between the last stop and the first lies the browser's own.
        assert stop["seen"] or stop["away"], stop
        if stop["found"]:
            return
    pytest.fail(f"{MOST_STOPS} stops, and none is {wanted}.")


def expect_another_count(page: Page, before: int) -> int:
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", str(before), timeout=WAIT_MS)
    return trainable_params(page)


def test_from_a_preset_to_the_yaml_with_the_keyboard_alone(walked: Page) -> None:
    start = trainable_params(walked)
    walk_to(walked, '[data-tab-id="presets"]')
    walked.keyboard.press("Enter")
    expect(walked.locator('[data-preset-ask="open"]').first).to_be_visible(timeout=WAIT_MS)
    walk_to(walked, '[data-preset="llama-3-8b-qlora-12gb"] [data-preset-ask="open"]')
    walked.keyboard.press("Enter")
    opened = expect_another_count(walked, start)
    walk_to(walked, "#lora_r input[type=range]")
    walked.keyboard.press("ArrowRight")
    moved = expect_another_count(walked, opened)
    assert moved > opened
    walk_to(walked, "#pin")
    walked.keyboard.press("Enter")
    expect(walked.locator(".pin-count")).to_contain_text("1 of", timeout=WAIT_MS)
    walk_to(walked, '[data-tab-id="compare"]')
    walked.keyboard.press("Enter")
    expect(walked.locator("table.comparing").first).to_be_visible(timeout=WAIT_MS)
    walk_to(walked, "#copy-yaml")
    rank = walked.locator("#lora_r-number").input_value()
    walked.keyboard.press("Enter")
    walked.wait_for_function(
        "async (line) => (await navigator.clipboard.readText()).includes(line)",
        arg=f"lora_r: {rank}\n",
        timeout=WAIT_MS,
    )
    walk_to(walked, '[data-tool="undo"]', "Shift+Tab")
    walked.keyboard.press("Enter")
    assert expect_another_count(walked, moved) == opened
