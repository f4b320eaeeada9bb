"""The tab Sweeps: points as they come, pressed ones made current, and what cannot be run told at its field."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.conftest import FIRST_COUNT_MS, Watched
from browser.reading import open_tab, trainable_params

pytestmark = pytest.mark.browser

SWEPT_MS = 90_000


@pytest.fixture
def sweeps(page: Page) -> Page:
    """The tab, with its form and the first memory figure."""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    open_tab(page, "Sweeps")
    expect(page.locator("#sweep-first-range")).to_have_value("4..256 x2")
    return page


def fill_in(page: Page, *axes: tuple[str, str]) -> None:
    for place, (name, typed) in zip(("first", "second"), axes, strict=False):
        field = page.locator(f"#sweep-{place}-range")
        if page.locator(f"#sweep-{place}").input_value() != name:
            before = field.input_value()
            page.select_option(f"#sweep-{place}", name)
            if name != "targets":
                expect(field).not_to_have_value(before)
        field.fill(typed)


def run(page: Page, *axes: tuple[str, str]) -> None:
    fill_in(page, *axes)
    page.get_by_role("button", name="Run", exact=True).click()


def expect_state(page: Page, state: str) -> None:
    expect(page.locator(".sweep-whole")).to_have_attribute("data-state", state, timeout=SWEPT_MS)


def point(page: Page, at: str) -> Locator:
    return page.locator(f'.sweep-stage [data-at="{at}"]:visible')


def expect_headline_of(page: Page, told: str) -> None:
    """told: what is said of a point."""
    count = re.search(r"([\d,]+) trainable parameters", told)
    gib = re.search(r"([\d,.]+) GiB peak memory", told)
    assert count
    assert gib
    expect(page.locator("#trainable-params")).to_have_attribute(
        "data-value", count[1].replace(",", ""), timeout=SWEPT_MS
    )
    expect(page.locator("body")).not_to_have_class(re.compile("weighing"), timeout=SWEPT_MS)
    peak_bytes = int(page.get_attribute("#peak-memory", "data-value") or 0)
    assert f"{peak_bytes / 1024**3:,.2f}" == gib[1]


def test_two_axes_come_in_and_a_pressed_point_is_what_the_headline_shows(sweeps: Page) -> None:
    run(sweeps, ("sequence_len", "512..6144 +512"), ("micro_batch_size", "1..4"))
    expect(sweeps.locator(".sweep-stage [data-empty]").first).to_be_visible(timeout=SWEPT_MS)
    expect(sweeps.locator(".sweep-stage [role=button]").first).to_be_visible(timeout=SWEPT_MS)
    expect_state(sweeps, "done")
    expect(sweeps.locator(".sweep-said")).to_have_text("48 points")
    assert sweeps.locator(".sweep-stage [data-empty]").count() == 0
    assert sweeps.locator(".card-ends li").count() == 4
    here = sweeps.locator(".sweep-stage [aria-current]")
    expect(here).to_have_attribute("data-at", "3,1")
    other = point(sweeps, "1,3")
    other.click()
    expect(other).to_have_attribute("aria-current", "true")
    expect(here).to_have_count(1)
    expect_headline_of(sweeps, other.get_attribute("aria-label") or "")
    assert sweeps.locator("#sequence_len input[type=number]").input_value() == "1024"
    assert sweeps.locator("#micro_batch_size input[type=number]").input_value() == "4"
    expect(sweeps.locator(".sweep-stale")).to_be_hidden()


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


def test_another_quantity_is_drawn_without_predicting_again(sweeps: Page) -> None:
    run(sweeps, ("lora_r", "4,8,16,32"))
    expect_state(sweeps, "done")
    asked: list[str] = []
    sweeps.on("request", lambda request: asked.append(request.url))
    for name, unit in (("Trainable parameters", "parameters"), ("Tokens a second", "tokens/s"), ("Peak memory", "GiB")):
        sweeps.get_by_role("radio", name=name).check()
        expect(sweeps.locator(".sweep-title:visible", has_text=unit).first).to_be_visible()
        assert sweeps.locator(".sweep-stage [data-at]:visible").count() == 4
    assert [url for url in asked if "queue" in url] == []


def test_the_next_question_can_be_typed_while_a_sweep_runs(sweeps: Page) -> None:
    run(sweeps, ("sequence_len", "128..8192 +128"), ("gradient_checkpointing", "true,false,offload"))
    expect(sweeps.locator(".sweep-stage [role=button]").first).to_be_attached(timeout=SWEPT_MS)
    fill_in(sweeps, ("lora_r", "3,5"))
    expect_state(sweeps, "done")
    assert sweeps.locator("#sweep-first").input_value() == "lora_r"
    assert sweeps.locator("#sweep-first-range").input_value() == "3,5"


def test_the_table_holds_every_point_and_uses_one(sweeps: Page) -> None:
    run(sweeps, ("lora_r", "8,16"), ("bits", "4,8,16"))
    expect_state(sweeps, "done")
    sweeps.locator(".sweep .chart-table summary").click()
    rows = sweeps.locator(".sweep-table tbody tr")
    assert rows.count() == 6
    sweeps.get_by_role("button", name="Use 8, 4-bit").click()
    expect(rows.first).to_have_class(re.compile("here"))
    expect(sweeps.locator("#load_in_4bit input")).to_be_checked()
    expect(point(sweeps, "0,0")).to_have_attribute("aria-current", "true")
    assert trainable_params(sweeps) > 0


def test_a_sweep_can_be_stopped_and_keeps_what_there_is(sweeps: Page) -> None:
    run(sweeps, ("lora_r", "1..250"), ("gradient_checkpointing", "true,false,offload"))
    expect(sweeps.locator(".sweep-stage [role=button]").first).to_be_attached(timeout=SWEPT_MS)
    sweeps.get_by_role("button", name="Stop", exact=True).click()
    expect_state(sweeps, "stopped")
    expect(sweeps.locator(".sweep-said")).to_have_text(re.compile(r"Stopped after [\d,]+ of 750 points"))
    expect(sweeps.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
    assert 0 < sweeps.locator(".sweep-table tbody tr").count() < 750


def test_a_slider_answers_while_a_sweep_runs_and_the_points_are_told_to_be_older(sweeps: Page) -> None:
    run(sweeps, ("sequence_len", "128..8192 +128"), ("gradient_checkpointing", "true,false,offload"))
    expect(sweeps.locator(".sweep-stage [role=button]").first).to_be_attached(timeout=SWEPT_MS)
    before = trainable_params(sweeps)
    sweeps.locator("#lora_r input[type=range]").fill("64")
    expect(sweeps.locator("#trainable-params")).to_have_attribute("data-value", str(2 * before), timeout=3000)
    expect(sweeps.locator(".sweep-stale")).to_contain_text("lora_r")
    expect(sweeps.locator(".sweep-stage [aria-current]")).to_have_count(0)
    run(sweeps, ("lora_r", "32,64"), ("bits", "16"))
    expect_state(sweeps, "done")
    expect(sweeps.locator(".sweep-stale")).to_be_hidden()
    expect(sweeps.locator(".sweep-stage [aria-current]:visible")).to_have_attribute("data-at", "1,0")


@pytest.mark.parametrize(
    ("axes", "place", "word"),
    [
        ([("lora_r", "")], "first", "needs a range"),
        ([("lora_r", "9..1")], "first", "is empty"),
        ([("lora_r", "four")], "first", "lora_r"),
        ([("lora_r", "1..9"), ("micro_batch_size", "1..3 x0")], "second", "does not go up"),
        ([("lora_r", "8"), ("bits", "5")], "second", "none of"),
    ],
)
def test_what_cannot_be_run_is_told_at_its_field_and_nothing_is_lost(
    sweeps: Page, axes: list[tuple[str, str]], place: str, word: str
) -> None:
    run(sweeps, *axes)
    expect_state(sweeps, "refused")
    expect(sweeps.locator(f"#sweep-{place}-fault")).to_contain_text(word)
    expect(sweeps.locator(f"#sweep-{place}-range")).to_have_attribute("aria-invalid", "true")
    assert sweeps.locator("#sweep-first-range").input_value() == axes[0][1]
    run(sweeps, ("lora_r", "8,16"), *([("micro_batch_size", "1")] if len(axes) > 1 else []))
    expect_state(sweeps, "done")
    expect(sweeps.locator(f"#sweep-{place}-fault")).to_be_empty()


def test_the_cards_are_chosen_and_the_chosen_one_of_the_page_is_always_among_them(sweeps: Page) -> None:
    held = sweeps.locator(".sweep-held")
    expect(held).to_have_text(re.compile("^RTX 4090, "))
    sweeps.locator(".sweep-held-against summary").click()
    sweeps.get_by_role("checkbox", name="H200 141GB").check()
    expect(held).to_contain_text("H200 141GB")
    expect(sweeps.get_by_role("checkbox", name="RTX 4090")).to_be_disabled()
    run(sweeps, ("lora_r", "8,16"))
    expect_state(sweeps, "done")
    expect(sweeps.locator(".card-ends")).to_contain_text("H200 141GB: holds all of these.")


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_a_sweep_fits_every_width(watched: Watched, width: int) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 900})
    open_tab(page, "Sweeps")
    page.locator('[data-ready="batch-length"]').click()
    expect_state(page, "done")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#panel-sweeps :is(input, select, button), #panel-sweep-result input')]
          .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).length"""
    )
    assert nameless == 0
