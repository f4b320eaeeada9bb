"""Somebody with a card of 12 GB who has never done this: it does not fit, then it does, and they know what it takes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser.stories.visitor import ANSWERED_MS, TRACED_MS, Arrive

pytestmark = pytest.mark.browser

CARD = "RTX 3060 12GB"


def test_a_beginner_with_a_card_of_12_gb(arrive: Arrive) -> None:
    visitor = arrive(1024, "light")
    page = visitor.page

    # Shown around for two stops, which is enough for now.
    page.get_by_role("button", name="A two-minute tour").click()
    first = page.locator(".tour-box h2").inner_text()
    page.locator(".tour-next").click()
    expect(page.locator(".tour-box h2")).not_to_have_text(first)
    visitor.look("tour")
    page.keyboard.press("Escape")
    expect(page.locator(".tour-box")).to_be_hidden()

    # A card that nobody has heard of leaves the one that was chosen; their own does not hold the run.
    page.locator("#card input").click()
    page.locator("#card input").fill("the one in my laptop")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#card-problem")).to_contain_text("the one in my laptop", timeout=ANSWERED_MS)
    expect(page.locator("#card input")).to_have_value("RTX 4090")
    visitor.choose_card(CARD)
    expect(visitor.fits).to_have_attribute("data-verdict", "does not fit", timeout=TRACED_MS)
    expect(page.locator("#card-problem .sentence")).to_have_count(0)

    # A rank that is none is told at its field; half the rank trains half as much, and is not enough.
    whole = visitor.value("trainable-params")
    visitor.type_number("lora_r", "-8")
    visitor.is_told("lora_r", "at least 1")
    assert visitor.value("trainable-params") == whole
    visitor.type_number("lora_r", "16")
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", str(whole // 2), timeout=ANSWERED_MS)
    expect(page.locator("#lora_r > .sentence")).to_have_count(0, timeout=ANSWERED_MS)
    visitor.weighed()
    expect(visitor.fits).to_have_attribute("data-verdict", "does not fit")
    visitor.look("does-not-fit")

    # What to change stands behind the words beneath the list, with what it costs; one press makes it fit.
    page.locator(".to-fit").click()
    together = page.locator("#fit-changes .fit-together button").first
    expect(together).to_be_visible(timeout=TRACED_MS)
    expect(together).to_contain_text("makes it fit")
    expect(page.locator("#fit-cards button").first).to_be_visible(timeout=TRACED_MS)
    visitor.look("what-would-make-it-fit")
    visitor.saves_what_it_says(together)
    expect(visitor.fits).to_have_attribute("data-verdict", "fits")
    expect(page.locator("#fit-verdict")).to_contain_text("to spare", timeout=TRACED_MS)
    expect(page.locator("#load_in_4bit input")).to_be_checked()

    # Hours for their data; words where a number is wanted have a sentence.
    page.locator("#fit-rows").fill("all of them")
    expect(page.locator("#fit-rows-problem")).to_contain_text("whole number", timeout=TRACED_MS)
    page.locator("#fit-rows").fill("52,002")
    expect(page.locator("#fit-rows-problem")).to_be_hidden(timeout=TRACED_MS)
    expect(page.locator("#fit-hours")).to_have_text(re.compile(r"^\d.* (h|days)$"), timeout=TRACED_MS)
    visitor.look("fits")

    # They look at what it was before, and go on; a reload in the middle loses nothing.
    fitting, peak = visitor.draft, visitor.value("peak-memory")
    page.locator('[data-tool="undo"]').click()
    expect(visitor.fits).to_have_attribute("data-verdict", "does not fit", timeout=TRACED_MS)
    page.locator('[data-tool="redo"]').click()
    expect(visitor.peak).to_have_attribute("data-value", str(peak), timeout=TRACED_MS)
    visitor.reload()
    assert visitor.draft == fitting
    assert visitor.value("peak-memory") == peak
    expect(visitor.fits).to_have_attribute("data-verdict", "fits")

    taken = visitor.takes_away()
    assert taken.values["adapter"] == "qlora"
    assert taken.values["lora_r"] == 16
    verdict = taken.figures.fit_on(CARD)
    assert verdict
    assert verdict.fits
    visitor.look("taken-away")
