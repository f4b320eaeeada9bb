"""The memory figure explained on the page: when the peak comes, what would lower it, and what a card makes of it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import open_tab, yaml_text

pytestmark = pytest.mark.browser

TRACED_MS = 60_000


@pytest.fixture
def weighed(page: Page) -> Page:
    """The page with its first memory figure."""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    return page


def process_bytes(page: Page) -> int:
    return int(page.get_attribute("#peak-memory", "data-value") or -1)


def expect_another_peak(page: Page, before_bytes: int) -> None:
    expect(page.locator("#peak-memory")).not_to_have_attribute("data-value", str(before_bytes), timeout=20_000)


def test_the_peak_is_drawn_and_told(weighed: Page) -> None:
    expect(weighed.locator("#step-curve svg[role=img]")).to_be_visible()
    expect(weighed.locator("#peak-moment")).to_contain_text("pass")
    assert weighed.locator("#step-curve .largest li").count() > 3


def test_the_verdict_is_a_word_and_a_sentence_and_not_only_a_colour(weighed: Page) -> None:
    word = weighed.locator("#fits").inner_text()
    assert word in {"fits", "tight", "does not fit"}
    assert weighed.get_attribute("#fits", "data-verdict") == word
    expect(weighed.locator("#verdict")).to_contain_text("RTX 4090")
    assert len(set(weighed.locator("#cards .chip .mark").all_inner_texts())) > 1


def test_what_would_save_memory_follows_what_is_set(weighed: Page) -> None:
    rows = weighed.locator("#savings li[data-setting]")
    expect(rows.first).to_be_attached(timeout=TRACED_MS)
    expect(weighed.locator("#savings")).not_to_contain_text("Each change", timeout=TRACED_MS)
    saved = [int(size.get_attribute("data-value") or 0) for size in weighed.locator("#savings b").all()]
    assert saved == sorted(saved, reverse=True)
    assert "load_in_4bit" in [row.get_attribute("data-setting") for row in rows.all()]
    before_bytes = process_bytes(weighed)
    weighed.locator("#adapter input").fill("qlora")
    weighed.keyboard.press("Enter")
    weighed.locator("#load_in_4bit input").check()
    expect_another_peak(weighed, before_bytes)
    expect(weighed.locator("#savings li[data-setting=load_in_4bit]")).to_have_count(0, timeout=TRACED_MS)
    expect(weighed.locator("#savings .old")).to_have_count(0, timeout=TRACED_MS)


def test_the_allocator_s_setting_moves_the_figure_and_not_the_yaml(weighed: Page) -> None:
    open_tab(weighed, "YAML")
    text = yaml_text(weighed)
    open_tab(weighed, "Explore")
    before_bytes = process_bytes(weighed)
    weighed.locator("#expandable_segments input").uncheck()
    expect_another_peak(weighed, before_bytes)
    open_tab(weighed, "YAML")
    assert yaml_text(weighed) == text


def test_a_step_that_cannot_be_traced_leaves_a_marked_lower_bound(weighed: Page) -> None:
    weighed.locator("#sequence_len input[type=number]").fill("4000000")
    weighed.locator("#micro_batch_size input[type=number]").fill("4096")
    expect(weighed.locator("#lower-bound")).to_contain_text("lower bound, not an estimate", timeout=20_000)
    assert re.match("≥", weighed.locator("#peak-memory").inner_text())
    assert weighed.get_attribute("#peak-memory", "data-value") is None
