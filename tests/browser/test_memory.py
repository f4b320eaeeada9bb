"""The memory figure explained on the page: when the peak comes, what would lower it, and what a card makes of it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import FIRST_COUNT_MS, Served
from browser.reading import open_tab, yaml_text

pytestmark = pytest.mark.browser

TRACED_MS = 60_000


@pytest.fixture
def weighed(page: Page) -> Page:
    """The page with its first memory figure, the verdicts of all cards, and its charts."""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    expect(page.locator("#cards .chip")).not_to_have_count(0, timeout=TRACED_MS)
    expect(page.locator("#params-by-kind .kind-bars")).to_be_attached(timeout=TRACED_MS)
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
    fits = [row.locator(".saving-fits").count() for row in rows.all()]
    assert fits == sorted(fits, reverse=True)
    others = weighed.locator("#savings button:not(:has(.saving-fits)) b").all()
    saved = [int(size.get_attribute("data-value") or 0) for size in others]
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


def test_a_saving_that_is_pressed_changes_the_widgets_the_count_and_the_yaml(weighed: Page) -> None:
    row = weighed.locator("#savings li[data-setting=load_in_4bit] button")
    expect(weighed.locator("#savings")).not_to_contain_text("Each change", timeout=TRACED_MS)
    weighed.locator("#savings summary").click()
    expect(row).to_be_visible()
    before_bytes = process_bytes(weighed)
    row.focus()
    weighed.keyboard.press("Enter")
    expect(weighed.locator("#load_in_4bit input")).to_be_checked(timeout=20_000)
    expect(weighed.locator("#adapter input")).to_have_value("qlora")
    expect_another_peak(weighed, before_bytes)
    assert weighed.locator(".sentence[data-kind=error]").count() == 0
    open_tab(weighed, "YAML")
    expect(weighed.locator("#yaml")).to_contain_text("adapter: qlora", timeout=20_000)
    assert "load_in_4bit: true" in yaml_text(weighed)


def test_what_was_opened_stays_open_over_answers_and_what_was_closed_stays_closed(weighed: Page) -> None:
    assumed, summary = weighed.locator("details.assumptions"), weighed.locator("details.assumptions summary")
    for is_open, rank in ((True, "40"), (False, "48")):
        summary.click()
        before_bytes = process_bytes(weighed)
        weighed.locator("#lora_r input[type=range]").fill(rank)
        expect_another_peak(weighed, before_bytes)
        assert assumed.evaluate("(details) => details.open") is is_open


def test_an_optimizer_of_unknown_memory_is_told_at_its_field_and_moves_no_panel(weighed: Page) -> None:
    expect(weighed.locator("#savings")).not_to_contain_text("Each change", timeout=TRACED_MS)
    places = """() => [...document.querySelectorAll('.tile, [id^=panel-]')].map((e) => {
      const { x, y, width, height } = e.getBoundingClientRect(); return [x, y, width, height].map(Math.round);
    })"""
    before = weighed.evaluate(places)
    _choose_optimizer(weighed, "lomo")
    sentence = weighed.locator("#optimizer > .sentence")
    expect(sentence).to_contain_text("lomo", timeout=20_000)
    expect(weighed.locator("#savings")).to_contain_text("Not known", timeout=20_000)
    assert weighed.evaluate(places) == before
    _choose_optimizer(weighed, "sgd")
    expect(sentence).to_have_count(0, timeout=20_000)


def test_figures_of_earlier_settings_are_marked_while_a_newer_one_takes_its_time(weighed: Page, served: Served) -> None:
    tiles, marked = weighed.locator("#memory-tiles"), weighed.locator("body.weighing")
    expect(marked).to_have_count(0, timeout=20_000)
    before_bytes = process_bytes(weighed)
    with stopped(served):
        weighed.locator("#lora_r input[type=range]").fill("72")
        expect(tiles).to_have_css("opacity", "0.5", timeout=5_000)
        weighed.locator("#lora_r input[type=range]").fill("80")
        weighed.wait_for_timeout(700)
        expect(marked).to_have_count(1)
        assert process_bytes(weighed) == before_bytes
    expect_another_peak(weighed, before_bytes)
    expect(marked).to_have_count(0, timeout=20_000)
    expect(tiles).to_have_css("opacity", "1", timeout=5_000)


def test_bad_settings_leave_no_mark_and_a_lost_question_leaves_it_only_until_the_next_answer(weighed: Page) -> None:
    marked, rank = weighed.locator("body.weighing"), weighed.locator("#lora_r input[type=number]")
    rank.fill("0")
    expect(weighed.locator("#lora_r > .sentence")).to_be_visible()
    # Bad settings are asked about twice, at once and when they are found to be bad; then the page is at rest.
    weighed.wait_for_timeout(2_000)
    expect(marked).to_have_count(0, timeout=20_000)
    before_bytes = process_bytes(weighed)
    # A question that never gets there, and a late answer to an older one.
    weighed.evaluate("document.body.classList.add('weighing')")
    weighed.evaluate("document.dispatchEvent(new CustomEvent('memory-known', { detail: 0 }))")
    expect(marked).to_have_count(1)
    rank.fill("96")
    expect_another_peak(weighed, before_bytes)
    expect(marked).to_have_count(0, timeout=20_000)


@contextmanager
def stopped(served: Served) -> Iterator[None]:
    """While those who trace for the server stand still."""
    tracers = psutil.Process(served.pid).children(recursive=True)
    for tracer in tracers:
        tracer.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGCONT)


def _choose_optimizer(page: Page, name: str) -> None:
    page.locator("#optimizer input").fill(name)
    page.keyboard.press("Enter")
