"""Charts are taken along as PNG, SVG and CSV: what is saved is what is seen, and needs nothing of the page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import open_tab
from lora_explorer.report.chart_frame import framed_in_panel
from lora_explorer.report.html import tag

pytestmark = pytest.mark.browser

TABS = {"Explore": 5, "Compare": 4, "Preview": 5, "History": 1}
"""How many charts are in sight in each tab, with one configuration pinned and no run kept."""
WAIT_MS = 60_000
PIXEL_JS = """async (bytes) => {
  const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
  const ink = new OffscreenCanvas(image.width, image.height).getContext("2d");
  ink.drawImage(image, 0, 0);
  return [image.width, image.height, [...ink.getImageData(3, 3, 1, 1).data]];
}"""


@pytest.fixture
def drawn(page: Page) -> Page:
    """The page with its first charts."""
    expect(page.locator('figure[data-name="memory-over-the-step"]')).to_be_visible(timeout=WAIT_MS)
    expect(page.locator('figure[data-name="parameters-by-kind"]')).to_be_visible(timeout=WAIT_MS)
    return page


def chart(page: Page, name: str) -> Locator:
    return page.locator(f'figure.chart[data-name="{name}"]')


def saved(page: Page, figure: Locator, kind: str) -> tuple[str, bytes]:
    """What a press on one of its buttons saves: the file's name, and what is in it."""
    with page.expect_download(timeout=WAIT_MS) as waiting:
        figure.locator(f'.chart-files [data-kind="{kind}"]').click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def test_every_chart_of_every_tab_is_saved_as_it_is_seen(drawn: Page) -> None:
    drawn.locator("#pin").click()
    for tab, count in TABS.items():
        open_tab(drawn, tab)
        figures = drawn.locator("figure.chart:visible")
        expect(figures).to_have_count(count, timeout=WAIT_MS)
        for figure in figures.all():
            _expect_three_files(drawn, figure)
    assert drawn.locator(".chart-file").count() == 0


def _expect_three_files(page: Page, figure: Locator) -> None:
    name = figure.get_attribute("data-name")
    assert name
    file, picture = saved(page, figure, "SVG")
    assert file == f"{name.lower()}.svg"
    _expect_to_stand_alone(picture.decode())
    file, content = saved(page, figure, "CSV")
    assert file == f"{name.lower()}.csv"
    heads, *rows = rows_of(content)
    shown = figure.locator(".chart-table tr")
    assert len(rows) == shown.count() - 1
    assert len(heads) == shown.first.locator("th").count()
    file, pixels = saved(page, figure, "PNG")
    assert file == f"{name.lower()}.png"
    width, height, _ = page.evaluate(PIXEL_JS, list(pixels))
    assert width == 2 * int(ElementTree.fromstring(picture).attrib["width"])
    assert height > 100


def _expect_to_stand_alone(picture: str) -> None:
    """No class, variable or file of the page is needed to draw it, and it says what it is about."""
    root = ElementTree.fromstring(picture)
    assert (root.findtext("{http://www.w3.org/2000/svg}title") or "").endswith("?")
    assert re.findall(r'\b(?:class|style|href|src)="|var\(|url\(|color-mix', picture) == []
    assert picture.count("<path") + picture.count("<rect") > 1
    words = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert len(words) > 1


def test_the_figures_of_a_file_are_exact_and_are_those_of_the_headline(drawn: Page) -> None:
    _, content = saved(drawn, chart(drawn, "memory-at-the-peak"), "CSV")
    in_bytes = {row[0]: int(row[2]) for row in rows_of(content)[1:]}
    whole = in_bytes.pop("All of the process")
    assert whole == int(drawn.get_attribute("#peak-memory", "data-value") or 0)
    assert whole == sum(size for name, size in in_bytes.items() if not name.startswith("Usable"))
    _, content = saved(drawn, chart(drawn, "parameters-by-kind"), "CSV")
    trained = int(drawn.get_attribute("#trainable-params", "data-value") or 0)
    assert sum(int(row[1]) for row in rows_of(content)[1:]) == trained


def test_a_chart_that_comes_later_has_its_buttons_and_its_words_are_no_formula(drawn: Page) -> None:
    rows = """[["=1+1", "1,024 MiB", "−1,000"], ["a, \\"b\\"", "–", "2.5"]]"""
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head) for head in ("Name", "Size", "Step")))),
        tag("tbody", data_rows=rows),
    )
    comes = framed_in_panel("../Later on", "Is it there?", "", tag("svg"), table=table)
    drawn.evaluate("(html) => document.querySelector('#panel-kinds').insertAdjacentHTML('beforeend', html)", comes)
    later = drawn.locator('figure[aria-label="Is it there?"]')
    expect(later.locator(".chart-files button")).to_have_count(3, timeout=WAIT_MS)
    file, content = saved(drawn, later, "CSV")
    assert file == "later-on.csv"
    assert rows_of(content) == [["Name", "Size (MiB)", "Step"], ["'=1+1", "1024", "-1000"], ['a, "b"', "", "2.5"]]


def test_an_opened_table_and_the_place_of_the_keyboard_outlast_a_new_answer(drawn: Page) -> None:
    figure = chart(drawn, "memory-over-the-step")
    figure.locator("summary").click()
    expect(figure.locator("tbody tr").nth(40)).to_be_attached(timeout=WAIT_MS)
    figure.locator('[data-kind="SVG"]').focus()
    before = figure.locator("table").inner_text()
    drawn.evaluate(
        """() => {
          const slider = document.querySelector("#lora_r input[type=range]");
          slider.value = 200;
          for (const name of ["input", "change"]) slider.dispatchEvent(new Event(name, { bubbles: true }));
        }"""
    )
    drawn.wait_for_function(
        """(before) => {
          const table = document.querySelector('[data-name="memory-over-the-step"] .chart-table[open] table');
          return table?.rows.length > 40 && table.innerText !== before;
        }""",
        arg=before,
        timeout=WAIT_MS,
    )
    expect(figure.locator('[data-kind="SVG"]')).to_be_focused(timeout=WAIT_MS)


@pytest.fixture
def dark(chromium: Browser, server: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", accept_downloads=True)
    page = context.new_page()
    page.goto(f"{server}/?__theme=dark")
    expect(chart(page, "parameters-by-kind")).to_be_visible(timeout=FIRST_COUNT_MS)
    yield page
    context.close()


def test_a_file_has_the_colours_of_the_theme_and_one_width_even_on_a_phone(dark: Page) -> None:
    _, pixels = saved(dark, chart(dark, "parameters-by-kind"), "PNG")
    width, _, corner = dark.evaluate(PIXEL_JS, list(pixels))
    panel = dark.evaluate("getComputedStyle(document.querySelector('#panel-kinds')).backgroundColor")
    assert width == 1520
    assert corner[:3] == [int(part) for part in re.findall(r"\d+", panel)[:3]]
    assert sum(corner[:3]) < 200
