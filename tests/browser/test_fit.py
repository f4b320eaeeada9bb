"""The tab Fit: from a run that does not fit to one that does, in one press, and what it will cost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import open_tab, widget

pytestmark = pytest.mark.browser


@pytest.fixture
def fitted(page: Page) -> Page:
    """A small model whose step is too large for the card that was chosen here."""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    base = page.locator(f"{widget(page, 'base_model')} input")
    base.fill("HuggingFaceTB/SmolLM2-135M")
    base.press("Enter")
    page.locator("#micro_batch_size input[type=number]").fill("16")
    open_tab(page, "Fit")
    page.locator("#fit-card").select_option("RTX 3060 12GB")
    expect(page.locator("#fits")).to_have_attribute("data-verdict", "does not fit", timeout=30_000)
    return page


def peak(page: Page) -> int:
    return int(page.get_attribute("#peak-memory", "data-value") or 0)


def test_the_first_advice_makes_it_fit_and_saves_what_it_says(fitted: Page) -> None:
    page = fitted
    expect(page.locator("#fit-verdict")).to_contain_text("short", timeout=30_000)
    first = page.locator("#fit-changes .advice button").first
    expect(page.locator("#fit-cards button").first).to_be_visible(timeout=90_000)
    before, saved = peak(page), int(first.locator("b").get_attribute("data-value") or 0)
    expect(first).to_contain_text("makes it fit")
    first.click()
    expect(page.locator("#fits")).to_have_attribute("data-verdict", re.compile("fits|tight"), timeout=30_000)
    expect(page.locator("#peak-memory")).to_have_attribute("data-value", str(before - saved), timeout=30_000)
    expect(page.locator("#fit-verdict")).not_to_contain_text("short", timeout=30_000)


def test_a_beginner_with_a_12_gb_card_presses_the_first_advice_and_sees_that_it_fits(page: Page) -> None:
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    open_tab(page, "Fit")
    page.locator("#fit-card").select_option("RTX 3060 12GB")
    expect(page.locator("#fits")).to_have_attribute("data-verdict", "does not fit", timeout=30_000)
    together = page.locator("#fit-changes .advice button[data-advice=together]")
    expect(together).to_contain_text("makes it fit", timeout=180_000)
    first = page.locator("#fit-changes .advice button").first
    assert first.get_attribute("data-advice") == "together"
    before, saved = peak(page), int(first.locator("b").get_attribute("data-value") or 0)
    first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#fits")).to_have_attribute("data-verdict", re.compile("fits|tight"), timeout=30_000)
    expect(page.locator("#peak-memory")).to_have_attribute("data-value", str(before - saved), timeout=30_000)
    expect(page.locator("#load_in_4bit input")).to_be_checked()


def test_what_is_of_an_earlier_card_is_marked_until_the_newer_answer_is_there(fitted: Page) -> None:
    page, marked = fitted, fitted.locator("#panel-fit.fit-old")
    expect(page.locator("#fit-verdict")).to_contain_text("RTX 3060 12GB", timeout=60_000)
    page.locator("#fit-card").select_option("A100 80GB SXM")
    expect(marked).to_have_count(1)
    # There and back before anything was asked: it is asked for again.
    page.locator("#fit-card").select_option("RTX 3060 12GB")
    expect(marked).to_have_count(0, timeout=60_000)
    expect(page.locator("#fit-verdict")).to_contain_text("RTX 3060 12GB")
    expect(page.locator(".fit-said.old")).to_have_count(0, timeout=60_000)


def test_nothing_is_asked_of_the_server_before_the_tab_is_in_sight(page: Page) -> None:
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    page.locator("#lora_r input[type=number]").fill("16")
    page.wait_for_timeout(2_000)
    assert page.locator("#fit-verdict").count() == 0
    open_tab(page, "Fit")
    expect(page.locator("#fit-verdict")).to_be_visible(timeout=60_000)


def test_every_source_of_a_cost_can_be_followed_and_nothing_is_fetched_for_it(fitted: Page) -> None:
    links = fitted.locator("#fit-changes .advice-cost a")
    expect(links.first).to_be_visible(timeout=60_000)
    for link in links.all():
        assert (link.get_attribute("href") or "").startswith("https://")
        assert link.get_attribute("rel") == "noopener noreferrer"


def test_the_card_is_the_same_everywhere_and_another_one_is_a_press_away(fitted: Page) -> None:
    page = fitted
    choose = page.locator("#fit-cards button").first
    expect(choose).to_be_visible(timeout=90_000)
    name = (choose.get_attribute("aria-label") or "").removeprefix("Choose ")
    choose.click()
    expect(page.locator("#fit-card")).to_have_value(name, timeout=10_000)
    expect(page.locator("#memory-tiles")).to_contain_text(name, timeout=30_000)
    open_tab(page, "Explore")
    expect(page.locator("#card input")).to_have_value(name)


def test_rows_give_hours_and_what_is_no_number_has_its_sentence(fitted: Page) -> None:
    page = fitted
    hours = page.locator("#fit-hours")
    expect(hours).to_contain_text(re.compile(r"\d+ (min|h)"), timeout=60_000)
    expect(page.locator("#fit-rows")).to_have_attribute("placeholder", "52,002")
    page.locator("#fit-rows").fill("520,000,000")
    expect(hours).to_contain_text("days", timeout=30_000)
    told = hours.inner_text()
    page.locator("#fit-rows").fill("many")
    expect(page.locator("#fit-rows-problem")).to_contain_text("whole number", timeout=30_000)
    assert hours.inner_text() == told
    expect(page.locator("#fit-rows")).to_have_value("many")
    page.locator("#fit-rows").fill("52,000")
    expect(page.locator("#fit-rows-problem")).to_be_hidden(timeout=30_000)


def test_explore_leads_to_what_each_change_costs(page: Page) -> None:
    page.locator(".to-fit").click()
    expect(page.get_by_role("tab", name="Fit")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#fit-verdict")).to_be_visible(timeout=60_000)


def test_a_change_that_is_taken_back_leaves_whole_answers_and_none_marked_as_old(fitted: Page) -> None:
    page = fitted
    expect(page.locator("#fit-cards button").first).to_be_visible(timeout=90_000)
    rank = page.locator("#lora_r input[type=number]")
    rank.fill("33")
    expect(page.locator("#panel-fit.fit-old .fit-said.old")).to_be_attached(timeout=30_000)
    page.wait_for_timeout(200)
    rank.fill("32")
    expect(page.locator("#fit-cards button").first).to_be_visible(timeout=90_000)
    expect(page.locator("#panel-fit.fit-old, .fit-said.old")).to_have_count(0, timeout=60_000)
