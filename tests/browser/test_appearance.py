"""The page at every width, in light and dark: nothing overflows, nothing jumps, everything has a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS, ROOT
from browser.reading import TABS, WAITED_FOR, open_tab

pytestmark = pytest.mark.browser

WIDTHS = (390, 1024, 1440)
OVERFLOW_JS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SCREENSHOTS = ROOT / "screenshots"


@pytest.fixture(params=[(width, theme) for width in WIDTHS for theme in ("light", "dark")], ids="{0[0]}-{0[1]}".format)
def sized(request: pytest.FixtureRequest, chromium: Browser, server: str) -> Iterator[tuple[Page, Path]]:
    width, theme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{server}/?__theme={theme}")
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    yield page, SCREENSHOTS / f"explore-{theme}-{width}.png"
    context.close()


def test_the_page_fits_its_width_and_is_kept_as_a_picture(sized: tuple[Page, Path]) -> None:
    page, picture = sized
    expect(page.locator("#params-by-kind .kind-bars")).to_be_visible(timeout=20_000)
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture, full_page=True)
    assert page.evaluate(OVERFLOW_JS) <= 0


def test_every_tab_fits_the_width(sized: tuple[Page, Path]) -> None:
    page, _ = sized
    too_wide = []
    for name in TABS:
        open_tab(page, name)
        page.wait_for_function(f"() => !document.querySelector('{WAITED_FOR}')", timeout=FIRST_COUNT_MS)
        if page.evaluate(OVERFLOW_JS) > 0:
            too_wide.append(name)
    assert too_wide == []


def test_no_headline_number_is_cut_off(sized: tuple[Page, Path]) -> None:
    page, _ = sized
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.tile-number')]
          .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""
    )
    assert cut == []


def test_the_words_under_the_way_to_the_peak_keep_apart(sized: tuple[Page, Path]) -> None:
    page, _ = sized
    page.wait_for_selector(".curve-axis .curve-optimizer", timeout=FIRST_COUNT_MS)
    touching = page.evaluate(
        """() => {
          const words = [...document.querySelectorAll('.curve-axis span, .curve-floor')].map((e) => {
            const range = document.createRange(); range.selectNodeContents(e); return range.getBoundingClientRect();
          });
          return words.flatMap((a, i) => words.slice(i + 1).filter(
            (b) => a.left < b.right + 2 && b.left < a.right + 2 && a.top < b.bottom && b.top < a.bottom));
        }"""
    )
    assert page.locator(".curve-axis span, .curve-floor").count() == 5
    assert touching == []


def test_headline_numbers_stay_in_sight_when_the_page_is_scrolled(sized: tuple[Page, Path]) -> None:
    page, _ = sized
    page.evaluate("scrollTo(0, 700)")
    tops = page.evaluate("['#header', '#headline'].map((e) => document.querySelector(e).getBoundingClientRect().top)")
    assert tops == [0, page.evaluate("document.querySelector('#header').offsetHeight")]
    tabs = page.evaluate("document.querySelector('#tabs > .tab-wrapper').getBoundingClientRect().bottom")
    assert tabs <= tops[1]


def test_nothing_moves_when_numbers_change(page: Page) -> None:
    places = """() => [...document.querySelectorAll('.tile, [id^=panel-]')].map(e => {
      const { x, y, width, height } = e.getBoundingClientRect(); return [x, y, width, height].map(Math.round);
    })"""
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    page.wait_for_selector("#params-by-kind .kind-bars")
    before = page.evaluate(places)
    peak = page.get_attribute("#peak-memory", "data-value") or ""
    page.locator("#lora_r input[type=range]").fill("250")
    expect(page.locator("#peak-memory")).not_to_have_attribute("data-value", peak, timeout=20_000)
    assert page.evaluate(places) == before


def test_every_field_has_a_name_for_a_screen_reader(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#controls input, #controls textarea, #controls button')].filter(e =>
          !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim() || e.type === 'file')
        ).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


def test_keyboard_focus_can_be_seen(page: Page) -> None:
    page.locator("#lora_r input[type=range]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_every_setting_of_the_first_rank_carries_its_key(page: Page) -> None:
    from lora_explorer.settings import SETTINGS

    for setting in SETTINGS.values():
        if not setting.more:
            assert page.locator(f'[id="{setting.key}"]').count() == 1, setting.key
