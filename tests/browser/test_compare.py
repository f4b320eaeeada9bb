"""Configurations pinned and held side by side: kept over a reload, named, moved, dropped, brought back, compared."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import expect_trainable_params, open_tab, trainable_params, type_yaml, widget

pytestmark = pytest.mark.browser

TRACED_MS = 120_000
STORED = "lora-explorer.pins.1"
SMALL = "base_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 16\n"
LINEAR = f"{SMALL}lora_target_linear: true\nsequence_len: 256\n"
OTHER = LINEAR.replace("HuggingFaceTB/SmolLM2-135M", "EleutherAI/pythia-410m")
WANTED = """(name) => {
  let found;
  document.dispatchEvent(new CustomEvent(name, { detail: (it) => { found = it; } }));
  return found;
}"""
TELL = "([name, detail]) => document.dispatchEvent(new CustomEvent(name, { detail }))"


def pin(page: Page) -> None:
    before = len(pins(page))
    page.locator("#pin").click()
    expect(page.locator(".pin-count")).to_contain_text(str(before + 1))
    page.wait_for_function(
        f"JSON.parse(localStorage.getItem('{STORED}') ?? '[]').every(({{ name }}) => name)", timeout=20_000
    )


def pins(page: Page) -> list[dict[str, Any]]:
    return list(page.evaluate(WANTED, "pins-wanted") or [])


def names(page: Page) -> list[str]:
    return [each["name"] for each in pins(page)]


def draft(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(WANTED, "draft-wanted"))


def headers(page: Page) -> Locator:
    return page.locator(".pin-name")


def figure(page: Page, name: str) -> list[str | None]:
    """The exact values of a row, what is on screen first."""
    cells = page.locator(f"tr[data-figure='{name}'] td")
    return [cell.get_attribute("data-value") for cell in cells.all()]


def expect_weighed(page: Page) -> None:
    expect(page.locator("tr[data-figure='peak-memory']")).not_to_contain_text("…", timeout=TRACED_MS)


def press(page: Page, at: int, action: str) -> None:
    headers(page).nth(at).click()
    page.locator(f"#pin-menu-{at}").get_by_role("button", name=action).click()


@pytest.fixture
def three(page: Page) -> Page:
    """Rank 8, rank 32 with DoRA, and another base model, of which the last is on screen."""
    type_yaml(page, LINEAR)
    expect_trainable_params(page, 2_442_240)
    pin(page)
    page.locator("#lora_r input[type=number]").fill("32")
    page.locator(f"{widget(page, 'peft_use_dora')} input").check()
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", "2442240", timeout=20_000)
    pin(page)
    type_yaml(page, OTHER)
    expect_trainable_params(page, 3_145_728)
    pin(page)
    open_tab(page, "Compare")
    expect(headers(page)).to_have_count(3, timeout=20_000)
    return page


def test_pins_are_named_by_what_sets_them_apart_and_outlive_a_reload(three: Page) -> None:
    first, second, third = names(three)
    assert "r 8" in first
    assert (second, third) == ("r 32, DoRA", "Pythia 410M, r 8")
    expect_weighed(three)
    expect(three.locator("#savings")).not_to_contain_text("Each change", timeout=TRACED_MS)
    three.reload()
    three.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    expect(three.locator(".pin-count")).to_contain_text("3")
    assert names(three) == [first, second, third]
    open_tab(three, "Compare")
    expect(headers(three)).to_have_text([first, second, third], timeout=20_000)


def test_figures_are_those_of_the_headline_and_setting_one_as_current_shows_them(three: Page) -> None:
    expect_weighed(three)
    counts, peaks, files = (figure(three, name) for name in ("trainable-params", "peak-memory", "adapter-file"))
    assert len({*counts}) == 3
    assert counts[0] == counts[3]
    for at in (1, 2, 3):
        three.locator(f"[data-pin='{at - 1}'] .pin-use").or_(three.locator(f"[data-pin='{at - 1}'] .pin-same")).click()
        expect_trainable_params(three, int(counts[at] or -1))
        expect(three.locator("#peak-memory")).to_have_attribute("data-value", peaks[at] or "", timeout=TRACED_MS)
        expect(three.locator("#adapter-file")).to_have_attribute("data-value", files[at] or "")
        expect(three.locator(f"th[data-pin='{at - 1}'] .pin-same")).to_be_visible(timeout=20_000)
    assert draft(three)["text"].startswith("base_model: EleutherAI/pythia-410m")


def test_only_settings_that_differ_are_rows_and_the_others_are_one_press_away(three: Page) -> None:
    rows = three.locator("tr[data-setting]")
    keys = [row.get_attribute("data-setting") for row in rows.all()]
    assert keys == ["base_model", "lora_r", "peft_use_dora"]
    common = three.locator("details.common")
    assert not common.evaluate("(it) => it.open")
    common.locator("summary").click()
    expect(common.locator("li:has(code:text-is('sequence_len'))")).to_contain_text("256")
    assert common.locator("li", has_text="peft_use_dora").count() == 0


def test_what_is_on_screen_is_a_column_that_follows(three: Page) -> None:
    before = figure(three, "trainable-params")
    three.locator("#lora_r input[type=number]").fill("16")
    expect(three.locator("tr[data-figure='trainable-params'] td.now")).to_have_attribute(
        "data-value", str(2 * int(before[0] or 0)), timeout=20_000
    )
    assert figure(three, "trainable-params")[1:] == before[1:]
    assert trainable_params(three) == int(figure(three, "trainable-params")[0] or -1)


def test_a_name_is_typed_and_stays_and_an_empty_one_is_proposed_anew(three: Page) -> None:
    headers(three).nth(1).click()
    field = three.locator("#pin-menu-1 input")
    field.fill("<b>mine</b>")
    three.keyboard.press("Enter")
    expect(headers(three).nth(1)).to_have_text("<b>mine</b>", timeout=20_000)
    expect(headers(three).nth(1)).to_be_focused()
    assert names(three)[1] == "<b>mine</b>"
    headers(three).nth(1).click()
    field.fill("  ")
    three.keyboard.press("Enter")
    expect(headers(three).nth(1)).to_have_text("SmolLM2 135M, r 32, DoRA", timeout=20_000)


def test_pins_are_moved_and_dropped_by_keyboard_and_come_back(three: Page) -> None:
    one, two, other = names(three)
    headers(three).nth(2).focus()
    three.keyboard.press("Enter")
    three.locator("#pin-menu-2").get_by_role("button", name="Move left").focus()
    three.keyboard.press("Enter")
    expect(headers(three)).to_have_text([one, other, two], timeout=20_000)
    expect(three.locator("#pin-menu-1").get_by_role("button", name="Move left")).to_be_focused()
    three.keyboard.press("Enter")
    expect(headers(three)).to_have_text([other, one, two], timeout=20_000)
    three.keyboard.press("Escape")
    press(three, 1, "Drop")
    expect(headers(three)).to_have_text([other, two], timeout=20_000)
    three.locator(".pin-said").get_by_role("button", name="Undo").click()
    expect(headers(three)).to_have_text([other, one, two], timeout=20_000)
    assert names(three) == [other, one, two]


def test_a_copy_stands_beside_its_model_and_takes_what_is_on_screen(three: Page) -> None:
    press(three, 0, "Duplicate")
    expect(headers(three)).to_have_count(4, timeout=20_000)
    assert names(three)[1] == f"{names(three)[0]} (2)"
    press(three, 1, "Update")
    expect(three.locator("th[data-pin='1'] .pin-same")).to_be_visible(timeout=20_000)
    three.locator(".pin-said").get_by_role("button", name="Undo").click()
    expect(three.locator("th[data-pin='1'] .pin-same")).to_have_count(0, timeout=20_000)


def test_a_ninth_pin_is_told_in_one_sentence_and_changes_nothing(page: Page) -> None:
    page.evaluate(TELL, ["pins-replaced", [{"name": f"pin {number}", "draft": draft(page)} for number in range(9)]])
    assert len(pins(page)) == 8
    page.locator("#pin").click()
    expect(page.locator(".pin-said")).to_have_text(re.compile("8 configurations are pinned already"))
    assert names(page) == [f"pin {number}" for number in range(8)]
    open_tab(page, "Compare")
    expect(headers(page)).to_have_count(8, timeout=20_000)
    expect(page.locator("#panel-compare")).to_contain_text("no room for more")


def test_a_configuration_that_cannot_be_counted_has_its_sentence_and_the_others_go_on(page: Page) -> None:
    fine = {**draft(page), "text": LINEAR, "touched": {}}
    bad = [
        {**fine, "touched": {"lora_r": 0}},
        {**fine, "text": "a: [\n"},
        {**fine, "text": LINEAR + "lora_target_modules: [nothing]\nlora_target_linear: false\n"},
        {**fine, "text": LINEAR.replace("HuggingFaceTB/SmolLM2-135M", "not a model")},
    ]
    page.evaluate(TELL, ["pins-replaced", [{"name": "", "draft": each} for each in (*bad, fine)]])
    open_tab(page, "Compare")
    expect(page.locator("tr[data-figure='trainable-params'] td").last).to_have_attribute(
        "data-value", "2442240", timeout=TRACED_MS
    )
    expect_weighed(page)
    expect(page.locator("tr[data-figure='problem'] .problem")).to_have_count(4, timeout=TRACED_MS)
    expect(page.locator("tr[data-figure='problem'] td").nth(1)).to_contain_text("lora_r must be")
    assert all(names(page))


@pytest.mark.parametrize(
    "stored",
    [
        "no json",
        "{}",
        "null",
        '[null, 3, {"name": 1}]',
        '[{"name": "x"}]',
        '[{"name": "x", "draft": {"text": 5}}]',
        '[{"name": "x", "draft": []}]',
    ],
)
def test_storage_that_says_nonsense_is_as_good_as_empty(chromium: Browser, server: str, stored: str) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    context.add_init_script(f"localStorage.setItem({json.dumps(STORED)}, {json.dumps(stored)})")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    assert pins(page) == []
    open_tab(page, "Compare")
    expect(page.locator("#panel-compare")).to_contain_text("Nothing is pinned yet")
    context.close()
    assert faults == []


def test_a_browser_that_keeps_nothing_pins_all_the_same_and_says_so(chromium: Browser, server: str) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    context.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    page = context.new_page()
    page.goto(server)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    page.locator("#pin").click()
    expect(page.locator(".pin-said")).to_contain_text("gone after a reload")
    assert len(pins(page)) == 1
    context.close()


def test_other_parts_of_the_page_add_pins_and_hear_of_them(page: Page) -> None:
    page.evaluate(
        "() => { window.heard = []; document.addEventListener('pins-changed', (e) => heard.push(e.detail)); }"
    )
    page.evaluate(TELL, ["pin-added", {"name": "from elsewhere", "draft": {**draft(page), "secret": 1}}])
    assert names(page) == ["from elsewhere"]
    assert page.evaluate("heard.length") == 1
    assert "secret" not in pins(page)[0]["draft"]


def test_every_chart_has_its_question_and_its_table(three: Page) -> None:
    expect_weighed(three)
    charts = three.locator("#comparison figure.chart")
    assert charts.count() == 4
    for chart in charts.all():
        assert chart.get_attribute("data-name")
        expect(chart.locator("h3")).to_contain_text("?")
        expect(chart.locator("svg[role=img]")).to_be_visible()
        assert chart.locator("details.chart-table tbody tr").count() == 4
    expect(three.locator("#panel-compare-4")).to_contain_text("No kept run has the settings")


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_comparison_fits_every_width_and_the_pin_hides_no_number(three: Page, width: int) -> None:
    three.set_viewport_size({"width": width, "height": 1000})
    overflow = three.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    hidden = three.evaluate(
        """() => {
          const pin = document.querySelector("#pin").getBoundingClientRect();
          const over = (a) => a.left < pin.right && pin.left < a.right && a.top < pin.bottom && pin.top < a.bottom;
          const written = [...document.querySelectorAll(".tile-title, .tile-number, .tile-below")].map((e) => {
            const range = document.createRange(); range.selectNodeContents(e); return range;
          });
          return written.filter((range) => over(range.getBoundingClientRect())).map(String);
        }"""
    )
    assert hidden == []
