"""The tour: offered once and quietly, walked by buttons and by keyboard, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS, ROOT, Watched
from browser.reading import open_tab
from lora_explorer.ui.tour import STOPS, TOURED

pytestmark = pytest.mark.browser

OFFER, BOX = ".tour-offer", ".tour-box"
PLACES = """() => [...document.querySelectorAll('.tile, [id^=panel-], #controls > *, #columns')].map((e) => {
  const { width, height } = e.getBoundingClientRect();
  return [e.offsetTop, e.offsetLeft, width, height].map(Math.round);
})"""


@pytest.fixture
def visits(chromium: Browser, server: str) -> Iterator[Any]:
    """Opens the page in a browser that was never here, at a width, under an address."""
    contexts = []

    def visit(width: int = 1440, height: int = 900, fragment: str = "", **options: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        watched.append(Watched(context.new_page()))
        watched[-1].page.goto(f"{server}/{fragment}")
        watched[-1].page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
        return watched[-1].page

    watched: list[Watched] = []
    yield visit
    for context in contexts:
        context.close()
    assert [each.complaints for each in watched] == [[]] * len(watched)


def title(page: Page) -> str:
    return page.inner_text(f"{BOX} h2")


def begin(page: Page) -> None:
    page.get_by_role("button", name="A two-minute tour").click()
    expect(page.locator(BOX)).to_be_visible()
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[0].title)


def test_the_first_visit_is_offered_a_tour_that_takes_no_focus_and_covers_nothing(page: Page) -> None:
    expect(page.locator(OFFER)).to_be_visible()
    assert page.evaluate("document.activeElement === document.body")
    expect(page.locator(BOX)).to_be_hidden()
    covered = page.evaluate(
        """() => {
          const offer = document.querySelector('.tour-offer').getBoundingClientRect();
          const said = document.createRange();
          said.selectNodeContents(document.querySelector('.side-line'));
          return [said, ...document.querySelectorAll('.tile, [id^=panel-], .group')]
            .map((e) => e.getBoundingClientRect()).filter((it) => it.width && it.left < offer.right
              && offer.left < it.right && it.top < offer.bottom - 1 && offer.top < it.bottom - 1).length;
        }"""
    )
    assert covered == 0


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_offer_moves_nothing_when_it_comes_and_the_answer_is_kept(visits: Any, width: int) -> None:
    page = visits(width)
    places = page.evaluate(PLACES)
    page.get_by_role("button", name="No tour").click()
    expect(page.locator(OFFER)).to_be_hidden()
    assert page.evaluate("(key) => localStorage.getItem(key)", TOURED) == "1"
    if width > 760:
        assert page.evaluate(PLACES) == places
    again = page.context.new_page()
    again.goto(page.url)
    again.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    expect(again.locator(OFFER)).to_be_hidden()


def test_who_comes_by_a_link_is_offered_nothing(visits: Any) -> None:
    page = visits(fragment="#c=1abc")
    expect(page.get_by_role("button", name="Tour", exact=True)).to_be_visible()
    expect(page.locator(OFFER)).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_it_goes_through_all_stops_in_order_marks_each_and_keeps_it_in_sight(visits: Any, width: int) -> None:
    page = visits(width, 844)
    begin(page)
    for number, stop in enumerate(STOPS, start=1):
        expect(page.locator(f"{BOX} h2")).to_have_text(stop.title)
        expect(page.locator(".tour-count")).to_have_text(f"{number} of {len(STOPS)}")
        page.wait_for_timeout(700)
        marked = page.locator(stop.marks[0]).first.bounding_box()
        box = page.locator(BOX).bounding_box()
        assert marked
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 844
        # The top of what is told about is in sight, and not behind the box.
        assert 0 <= marked["y"] < 844 - 100
        is_beside = box["x"] >= marked["x"] + marked["width"] or box["x"] + box["width"] <= marked["x"]
        is_apart = box["y"] >= marked["y"] + marked["height"] or box["y"] + box["height"] <= marked["y"]
        assert is_beside or is_apart or marked["y"] + 60 < box["y"], stop.title
        assert page.locator("[data-tour-here]").count() == len(stop.marks)
        if number in (2, 5):
            (ROOT / "screenshots").mkdir(exist_ok=True)
            page.screenshot(path=ROOT / "screenshots" / f"tour-{number}-{width}.png")
        page.get_by_role("button", name="Done" if number == len(STOPS) else "Next").click()
    expect(page.locator(BOX)).to_be_hidden()
    assert page.locator("[data-tour-here]").count() == 0


def test_marking_moves_nothing(visits: Any) -> None:
    page = visits(reduced_motion="reduce")
    expect(page.locator("#params-by-kind .kind-bars")).to_be_visible(timeout=20_000)
    expect(page.locator("#savings li").first).to_be_visible(timeout=60_000)
    places = page.evaluate(PLACES)
    begin(page)
    for _ in STOPS[1:]:
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
        assert page.evaluate(PLACES) == places


def test_keys_go_on_and_back_and_escape_leaves_with_the_focus_where_it_was(visits: Any) -> None:
    page = visits()
    again = page.get_by_role("button", name="Tour", exact=True)
    again.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Next")).to_be_focused()
    expect(page.get_by_role("dialog", name=STOPS[0].title)).to_be_visible()
    expect(page.get_by_role("button", name="Back")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    assert title(page) == STOPS[0].title
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[1].title)
    page.keyboard.press("Enter")
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[2].title)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[1].title)
    page.keyboard.press("Escape")
    expect(page.locator(BOX)).to_be_hidden()
    expect(again).to_be_focused()
    assert page.locator("[data-tour-here]").count() == 0


def test_the_page_can_be_used_meanwhile_and_arrows_in_a_field_stay_there(visits: Any) -> None:
    page = visits()
    begin(page)
    page.keyboard.press("ArrowRight")
    count = page.get_attribute("#trainable-params", "data-value") or ""
    page.locator("#lora_r input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", count, timeout=20_000)
    assert title(page) == STOPS[1].title
    page.keyboard.press("Escape")
    expect(page.locator("#lora_r input[type=range]")).to_be_focused()


def test_it_starts_from_any_tab_and_passes_over_what_is_not_there(visits: Any) -> None:
    page = visits()
    open_tab(page, "YAML")
    page.evaluate("document.querySelector('#pin').remove(); document.querySelector('#panel-layers').id = 'elsewhere'")
    page.get_by_role("button", name="Tour", exact=True).click()
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[0].title)
    seen = [title(page)]
    while page.inner_text(".tour-next") != "Done":
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        seen.append(title(page))
    assert seen == [stop.title for stop in STOPS if stop.marks[0] not in ("#pin", "#panel-layers")]
    expect(page.locator(".tour-count")).to_have_text(f"{len(seen)} of {len(seen)}")


def test_a_stop_that_has_gone_since_or_lies_in_another_tab_does_not_stop_the_walk(visits: Any) -> None:
    page = visits()
    begin(page)
    page.keyboard.press("ArrowRight")
    open_tab(page, "YAML")
    page.locator(".tour-next").click()
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[2].title)
    expect(page.locator("#panel-memory")).to_be_visible()
    page.evaluate("document.querySelector('#memory-tiles').remove()")
    page.locator(".tour-next").click()
    expect(page.locator(f"{BOX} h2")).to_have_text(STOPS[4].title)


def test_reduced_motion_jumps_at_once(visits: Any) -> None:
    page = visits(390, 844, reduced_motion="reduce")
    page.evaluate(
        """() => { window.ways = []; const old = Element.prototype.scrollIntoView;
          Element.prototype.scrollIntoView = function (how) {
            ways.push(how?.behavior);
            return old.call(this, how);
          }; }"""
    )
    begin(page)
    page.get_by_role("button", name="Next").click()
    assert set(page.evaluate("ways")) == {"instant"}
