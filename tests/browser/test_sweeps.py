"""The tab Sweeps: points as they come, pressed ones made current, and what cannot be run told at its field."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Expect, Locator, Page

from browser.conftest import FIRST_COUNT_MS, Watched
from browser.reading import open_tab, trainable_params

pytestmark = pytest.mark.browser

SWEPT_MS = 90_000
LONG = (("sequence_len", "128..8192 +128"), ("gradient_checkpointing", "true,false,offload"))

# A busy machine answers late.
expect = Expect()
expect.set_options(timeout=60_000)


@pytest.fixture
def sweeps(page: Page) -> Page:
    """The tab, with its form and the first memory figure."""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    open_tab(page, "Sweeps")
    expect(page.locator("#sweep-first-range")).to_have_value("4..256 x2")
    return page


def fill_in(page: Page, *axes: tuple[str, str]) -> None:
    for place, (name, typed) in zip(("first", "second"), axes, strict=False):
        page.select_option(f"#sweep-{place}", name)
        page.locator(f"#sweep-{place}-range").fill(typed)


def run(page: Page, *axes: tuple[str, str]) -> None:
    fill_in(page, *axes)
    page.get_by_role("button", name="Run", exact=True).click()


def expect_state(page: Page, state: str) -> None:
    """Waits for the end of a sweep, and says what is at fault where it is another end."""
    whole = page.locator(".sweep-whole")
    expect(whole).to_have_attribute("data-state", re.compile("done|stopped|refused"), timeout=SWEPT_MS)
    faults = [fault for fault in page.locator("[data-fault]").all_inner_texts() if fault]
    assert (whole.get_attribute("data-state"), faults) == (state, [])


def expect_first_point(page: Page) -> None:
    expect(page.locator(".sweep-stage [role=button]").first).to_be_attached(timeout=SWEPT_MS)


def point(page: Page, at: str) -> Locator:
    return page.locator(f'.sweep-stage [data-at="{at}"]:visible')


def expect_headline_of(page: Page, told: str) -> None:
    """told: what is said of a point."""
    count = re.search(r"([\d,]+) trainable parameters", told)
    gib = re.search(r"([\d,.]+) GiB peak memory", told)
    assert count
    assert gib
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", count[1].replace(",", ""))
    page.wait_for_function(
        "(gib) => (document.getElementById('peak-memory')?.dataset.value / 2 ** 30).toFixed(2) === gib",
        arg=gib[1].replace(",", ""),
        timeout=SWEPT_MS,
    )


def test_two_axes_come_in_and_a_pressed_point_is_what_the_headline_shows_until_it_is_undone(sweeps: Page) -> None:
    run(sweeps, ("sequence_len", "512..4096 +512"), ("micro_batch_size", "1..4"))
    expect(sweeps.locator(".sweep-stage [data-empty]").first).to_be_visible()
    expect_state(sweeps, "done")
    expect(sweeps.locator(".sweep-said")).to_have_text("32 points")
    assert sweeps.locator(".sweep-stage [data-empty]").count() == 0
    assert sweeps.locator(".card-ends li").count() == 4
    expect(sweeps.locator(".sweep-scale p:visible")).to_contain_text("GiB")
    here = sweeps.locator(".sweep-stage [aria-current]")
    expect(here).to_have_attribute("data-at", "3,1")
    other = point(sweeps, "1,3")
    other.click()
    expect(other).to_have_attribute("aria-current", "true")
    expect(here).to_have_count(1)
    expect_headline_of(sweeps, other.get_attribute("aria-label") or "")
    length, rows = (sweeps.locator(f"#{name} input[type=number]") for name in ("sequence_len", "micro_batch_size"))
    expect(length).to_have_value("1024")
    expect(rows).to_have_value("4")
    expect(sweeps.locator(".sweep-stale")).to_be_hidden()
    sweeps.get_by_role("button", name="Undo").click()
    expect(length).to_have_value("2048")
    expect(rows).to_have_value("2")
    expect(here).to_have_attribute("data-at", "3,1")


def test_a_ready_question_is_one_press_and_a_curve_is_walked_and_pressed_by_the_keyboard(sweeps: Page) -> None:
    sweeps.locator('[data-ready="rank-targets"]').click()
    expect_state(sweeps, "done")
    expect(sweeps.locator("#sweep-second-range")).to_have_value(re.compile("all-linear,attention"))
    here = sweeps.locator(".sweep-stage [aria-current]:visible")
    expect(here).to_have_attribute("tabindex", "0")
    at = here.get_attribute("data-at") or ""
    here.focus()
    sweeps.keyboard.press("ArrowRight")
    sweeps.keyboard.press("ArrowDown")
    focused = sweeps.locator(".sweep-stage [data-at]:focus")
    rank, targets = map(int, at.split(","))
    expect(focused).to_have_attribute("data-at", f"{rank + 1},{targets + 1}")
    told = focused.get_attribute("aria-label") or ""
    expect(sweeps.locator(".sweep-told b")).to_have_text(told.partition(". ")[0])
    sweeps.keyboard.press("Enter")
    expect_headline_of(sweeps, told)
    expect(focused).to_have_attribute("aria-current", "true")


def test_what_was_predicted_is_drawn_by_each_quantity_and_stands_in_a_table_that_uses_a_point(sweeps: Page) -> None:
    run(sweeps, ("lora_r", "8,16"), ("bits", "4,8,16"))
    expect_state(sweeps, "done")
    asked: list[str] = []
    sweeps.on("request", lambda request: asked.append(request.post_data or ""))
    for name, unit in (("Trainable parameters", "parameters"), ("Tokens a second", "tokens/s"), ("Peak memory", "GiB")):
        sweeps.get_by_role("radio", name=name).check()
        expect(sweeps.locator(".sweep-scale p:visible", has_text=unit)).to_have_count(1)
        assert sweeps.locator(".sweep-stage [data-at]:visible").count() == 6
    assert [body for body in asked if '"axes"' in body] == []
    sweeps.locator(".sweep .chart-table summary").click()
    rows = sweeps.locator(".sweep-table tbody tr")
    assert rows.count() == 6
    sweeps.get_by_role("button", name="Use 8, 4-bit").click()
    expect(rows.first).to_have_class(re.compile("here"))
    expect(sweeps.locator("#load_in_4bit input")).to_be_checked()
    expect(point(sweeps, "0,0")).to_have_attribute("aria-current", "true")


def test_while_a_sweep_runs_sliders_answer_the_next_one_is_typed_and_a_stop_keeps_what_there_is(sweeps: Page) -> None:
    run(sweeps, *LONG)
    expect_first_point(sweeps)
    before = trainable_params(sweeps)
    sweeps.locator("#lora_r input[type=range]").fill("64")
    expect(sweeps.locator("#trainable-params")).to_have_attribute("data-value", str(2 * before))
    expect(sweeps.locator(".sweep-stale")).to_contain_text("lora_r")
    expect(sweeps.locator(".sweep-stage [aria-current]")).to_have_count(0)
    fill_in(sweeps, ("lora_r", "32,64"), ("bits", "16"))
    sweeps.get_by_role("button", name="Stop", exact=True).click()
    expect_state(sweeps, "stopped")
    expect(sweeps.locator(".sweep-said")).to_have_text(re.compile(r"Stopped after [\d,]+ of 192 points"))
    expect(sweeps.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
    assert 0 < sweeps.locator(".sweep-table tbody tr").count() < 192
    assert sweeps.locator("#sweep-first-range").input_value() == "32,64"
    sweeps.get_by_role("button", name="Run", exact=True).click()
    expect_state(sweeps, "done")
    expect(sweeps.locator(".sweep-stale")).to_be_hidden()
    expect(sweeps.locator(".sweep-stage [aria-current]:visible")).to_have_attribute("data-at", "1,0")


def test_what_cannot_be_run_is_told_at_its_field_and_nothing_is_lost(sweeps: Page) -> None:
    for axes, place, word in (
        ([("lora_r", "")], "first", "needs a range"),
        ([("lora_r", "9..1")], "first", "is empty"),
        ([("lora_r", "four")], "first", "lora_r"),
        ([("lora_r", "1..9"), ("micro_batch_size", "1..3 x0")], "second", "does not go up"),
        ([("lora_r", "8"), ("bits", "5")], "second", "none of"),
    ):
        run(sweeps, *axes)
        expect(sweeps.locator(f"#sweep-{place}-fault")).to_contain_text(word)
        expect(sweeps.locator(f"#sweep-{place}-range")).to_have_attribute("aria-invalid", "true")
        assert sweeps.locator("#sweep-first-range").input_value() == axes[0][1]
    run(sweeps, ("lora_r", "8,16"), ("bits", "4"))
    expect_state(sweeps, "done")
    expect(sweeps.locator("#sweep-second-fault")).to_be_empty()


def test_cards_are_chosen_and_every_width_has_room_for_a_picture_with_names_for_all(watched: Watched) -> None:
    page = watched.page
    open_tab(page, "Sweeps")
    held = page.locator(".sweep-held")
    expect(held).to_have_text(re.compile("^RTX 4090, "))
    page.locator(".sweep-held-against summary").click()
    page.get_by_role("checkbox", name="H200 141GB").check()
    expect(held).to_contain_text("H200 141GB")
    expect(page.get_by_role("checkbox", name="RTX 4090")).to_be_disabled()
    run(page, ("lora_r", "8,16"), ("bits", "4,16"))
    expect_state(page, "done")
    expect(page.locator(".card-ends")).to_contain_text("H200 141GB: holds all of these.")
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#panel-sweeps :is(input, select, button), #panel-sweep-result input')]
          .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).length"""
    )
    assert nameless == 0
