"""The tab Presets: recipes with their figures, opened without losing anything, and presets of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.conftest import FIRST_COUNT_MS, ROOT
from browser.reading import expect_trainable_params, open_tab, trainable_params, type_yaml, widget, yaml_text
from lora_explorer.recipe_files import recipe_files

pytestmark = pytest.mark.browser

FIGURES_MS = 240_000
STORED = "lora-explorer.presets.1"
SMALL = (
    "# mine\nbase_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 16\n"
    "lora_target_linear: true\nsequence_len: 256\n"
)
SMALL_COUNT = 2_442_240
ALL_WEIGHED = "[...document.querySelectorAll('[data-preset] [data-figure=peak-memory]')].every((e) => e.dataset.value)"
SCRIPTED = "<img src=x onerror=\"document.title = 'owned'\">"
CHOOSE = """(card) => {
  const detail = { name: "card", value: card };
  document.dispatchEvent(new CustomEvent("setting-touched", { detail }));
}"""
FILL = """([key, draft]) => {
  const presets = [...Array(30)].map((_, number) => ({ name: `n${number}`, draft }));
  localStorage.setItem(key, JSON.stringify(presets));
}"""
NOW = """() => {
  let draft;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (it) => { draft = it; } }));
  return draft;
}"""


def opened(page: Page) -> Page:
    open_tab(page, "Presets")
    expect(page.locator("[data-preset]")).to_have_count(len(recipe_files()), timeout=20_000)
    return page


def another(page: Page) -> Page:
    """The same browser later; the page itself is not left while answers are on their way."""
    later = page.context.new_page()
    later.goto(page.url)
    later.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    return later


def card(page: Page, name: str) -> Locator:
    return page.locator(f'[data-preset="{name}"]')


def own(page: Page) -> Locator:
    return page.locator(".own-list .preset")


def kept(page: Page) -> list[dict[str, Any]]:
    return list(page.evaluate(f"JSON.parse(localStorage.getItem('{STORED}') ?? '[]')"))


def names(page: Page) -> list[str]:
    return [str(each["name"]) for each in kept(page)]


def keep(page: Page, name: str) -> None:
    page.fill("#preset-name", name)
    page.get_by_role("button", name="Save what is on screen").click()


def fault(page: Page) -> Locator:
    return page.locator(".own-form .sentence")


def figure(within: Locator, name: str) -> Locator:
    return within.locator(f'[data-figure="{name}"]')


def ask(page: Page, name: str, action: str) -> None:
    page.get_by_role("button", name=f"{action}: {name}", exact=True).click()


def choose_file(page: Page, content: str | dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    page.set_input_files(".own-asks input[type=file]", file)


@pytest.fixture
def mine(page: Page) -> Page:
    """A small configuration is on screen, and the tab is open."""
    type_yaml(page, SMALL)
    expect_trainable_params(page, SMALL_COUNT)
    return opened(page)


def test_figures_stream_in_and_are_those_of_the_headline_on_that_card(page: Page) -> None:
    opened(page)
    page.wait_for_function(ALL_WEIGHED, timeout=FIGURES_MS)
    for file in recipe_files():
        assert int(figure(card(page, file.name), "peak-memory").get_attribute("data-value") or 0) > 1 << 30
    small = card(page, "gpt2-conv1d")
    count, gpu = (figure(small, name).get_attribute("data-value") for name in ("trainable-params", "smallest-card"))
    peak = figure(small, "peak-memory").get_attribute("data-value")
    ask(page, "Layers that are Conv1D", "Open")
    expect_trainable_params(page, int(count or 0))
    page.evaluate(CHOOSE, gpu)
    expect(page.locator("#peak-memory")).to_have_attribute("data-value", peak or "", timeout=60_000)
    expect(page.locator("#fits")).to_have_attribute("data-value", "1")


def test_one_press_opens_a_recipe_word_for_word_and_undo_brings_back_what_was_there(mine: Page) -> None:
    mine.evaluate(CHOOSE, "T4")
    mine.locator(f"{widget(mine, 'lora_r')} input[type=number]").fill("16")
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    before = mine.evaluate(NOW)
    ask(mine, "DoRA at a low rank", "Open")
    expect_trainable_params(mine, 17_170_432)
    expect(card(mine, "mistral-7b-dora")).to_have_class("preset opened")
    assert mine.evaluate(NOW)["card"] == "T4"
    mine.locator(".gallery-said").get_by_role("button", name="Undo").click()
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    assert mine.evaluate(NOW)["text"] == before["text"]
    expect(mine.locator(f"{widget(mine, 'lora_r')} input[type=number]")).to_have_value("16")
    ask(mine, "DoRA at a low rank", "Open")
    expect_trainable_params(mine, 17_170_432)
    open_tab(mine, "YAML")
    text = next(file.text for file in recipe_files() if file.name == "mistral-7b-dora")
    assert yaml_text(mine).rstrip("\n") == text.rstrip("\n")


def test_the_preview_of_a_card_is_the_whole_file(page: Page) -> None:
    opened(page)
    for file in recipe_files():
        assert card(page, file.name).locator("code").text_content() == file.text
    card(page, "gpt2-conv1d").locator("summary").click()
    expect(card(page, "gpt2-conv1d").locator("pre")).to_be_visible()


def test_words_leave_the_cards_that_hold_all_of_them(page: Page) -> None:
    opened(page)
    field = page.get_by_label("Filter by words")
    field.fill("qwen, RSLORA")
    expect(page.locator("[data-preset]:visible")).to_have_count(1)
    expect(card(page, "qwen3-8b-rslora-rank-256")).to_be_visible()
    expect(page.locator(".gallery-count")).to_have_text(f"1 of {len(recipe_files())}")
    field.fill("peft_use_dora: true")
    expect(card(page, "mistral-7b-dora")).to_be_visible()
    field.fill("nothing of the kind")
    expect(page.locator(".gallery-count")).to_contain_text("none of")
    field.fill("")
    expect(page.locator("[data-preset]:visible")).to_have_count(len(recipe_files()))


def test_what_is_saved_outlives_a_reload_and_opens_with_everything_that_was_on_screen(mine: Page) -> None:
    mine.locator(f"{widget(mine, 'lora_r')} input[type=number]").fill("16")
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    keep(mine, "rank 16")
    expect(own(mine)).to_have_count(1)
    expect(figure(own(mine), "trainable-params")).to_have_attribute(
        "data-value", str(2 * SMALL_COUNT), timeout=FIGURES_MS
    )
    expect(own(mine).locator(".preset-model")).to_have_text("SmolLM2 135M")
    mine = opened(another(mine))
    expect(own(mine).locator("h3")).to_have_text("rank 16")
    ask(mine, "rank 16", "Open")
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    expect(mine.locator(f"{widget(mine, 'lora_r')} input[type=number]")).to_have_value("16")


def test_a_preset_is_renamed_replaced_and_deleted_and_each_can_be_taken_back(mine: Page) -> None:
    keep(mine, "first")
    keep(mine, "second")
    ask(mine, "first", "Rename")
    mine.keyboard.type("other")
    mine.keyboard.press("Enter")
    assert names(mine) == ["other", "second"]
    expect(mine.get_by_role("button", name="Rename: other")).to_be_focused()
    ask(mine, "other", "Rename")
    mine.keyboard.type("second")
    mine.keyboard.press("Enter")
    expect(mine.locator(".gallery-said")).to_have_text("Another preset is called second.")
    mine.keyboard.press("Escape")
    assert names(mine) == ["other", "second"]
    mine.locator(f"{widget(mine, 'lora_r')} input[type=number]").fill("16")
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    keep(mine, "second")
    assert [each["draft"]["touched"].get("lora_r") for each in kept(mine)] == [None, 16]
    mine.locator(".gallery-said button").click()
    assert [each["draft"]["touched"].get("lora_r") for each in kept(mine)] == [None, None]
    ask(mine, "other", "Delete")
    assert names(mine) == ["second"]
    expect(mine.locator(".gallery-said")).to_contain_text("other is deleted.")
    mine.locator(".gallery-said button").click()
    assert names(mine) == ["other", "second"]


def test_a_new_name_is_taken_when_the_field_is_left(mine: Page) -> None:
    keep(mine, "first")
    ask(mine, "first", "Rename")
    mine.keyboard.type("other")
    mine.get_by_label("Filter by words").click()
    assert names(mine) == ["other"]
    expect(own(mine).locator("h3")).to_have_text("other")
    expect(mine.get_by_label("Filter by words")).to_be_focused()


def test_opening_a_recipe_is_one_change_for_undo_and_redo_of_the_page(mine: Page) -> None:
    before = mine.evaluate(NOW)
    ask(mine, "DoRA at a low rank", "Open")
    expect_trainable_params(mine, 17_170_432)
    mine.locator('[data-tool="undo"]').click()
    expect_trainable_params(mine, SMALL_COUNT)
    assert mine.evaluate(NOW)["text"] == before["text"]
    mine.locator('[data-tool="redo"]').click()
    expect_trainable_params(mine, 17_170_432)


def test_names_are_shown_as_text_and_what_cannot_be_saved_is_said_at_the_field(mine: Page) -> None:
    for name in ("", "   "):
        keep(mine, name)
        expect(fault(mine)).to_have_text("Type a name first.")
    keep(mine, SCRIPTED)
    expect(fault(mine)).to_be_empty()
    expect(own(mine).locator("h3")).to_have_text(SCRIPTED)
    expect(mine.locator(".gallery-said")).to_contain_text(SCRIPTED)
    assert mine.locator(".gallery img").count() == 0
    assert mine.title() != "owned"
    type_yaml(mine, "a: [")
    opened(mine)
    keep(mine, "broken")
    expect(fault(mine)).to_contain_text("cannot be used as it is")
    assert names(mine) == [SCRIPTED]


def test_no_more_than_thirty_are_kept_and_a_full_storage_is_said(mine: Page) -> None:
    draft = mine.evaluate(NOW)
    mine.evaluate(FILL, [STORED, draft])
    mine = opened(another(mine))
    expect(own(mine)).to_have_count(30)
    keep(mine, "one more")
    expect(fault(mine)).to_contain_text("30 presets are kept already")
    assert len(kept(mine)) == 30
    ask(mine, "n0", "Delete")
    mine.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; }"
    )
    keep(mine, "one more")
    expect(mine.locator(".gallery-said")).to_contain_text("This browser keeps nothing more")
    expect(own(mine)).to_have_count(30)


@pytest.mark.parametrize(
    "left",
    [
        "[",
        "7",
        '{"name": "x"}',
        '[null, 3, {"name": "x"}, {"name": "  ", "draft": {"text": ""}}, {"name": 1}]',
        '["x"]',
    ],
)
def test_whatever_lies_in_the_storage_the_page_works(page: Page, left: str) -> None:
    page.evaluate("([key, left]) => localStorage.setItem(key, left)", [STORED, left])
    page = opened(another(page))
    expect(own(page)).to_have_count(0)
    keep(page, "works")
    assert names(page) == ["works"]


def test_all_presets_leave_as_one_file_and_come_back_from_it(mine: Page, tmp_path: Path) -> None:
    keep(mine, "first")
    keep(mine, "second")
    before = kept(mine)
    with mine.expect_download() as download:
        mine.get_by_role("button", name="Export all").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "lora-explorer-presets.json"
    mine.set_input_files(".own-asks input[type=file]", file)
    expect(mine.locator(".gallery-said")).to_have_text("All of them are kept here already.")
    for name in ("first", "second"):
        ask(mine, name, "Delete")
    mine.set_input_files(".own-asks input[type=file]", file)
    expect(own(mine)).to_have_count(2)
    assert kept(mine) == before
    mine.locator(".gallery-said button").click()
    assert kept(mine) == []
    mine.locator(f"{widget(mine, 'lora_r')} input[type=number]").fill("16")
    expect_trainable_params(mine, 2 * SMALL_COUNT)
    keep(mine, "first")
    mine.set_input_files(".own-asks input[type=file]", file)
    expect(own(mine)).to_have_count(3)
    assert names(mine) == ["first", "first (2)", "second"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("no json", "not JSON"),
        ({}, "holds no presets of this page"),
        ({"format": "lora-explorer presets", "version": 9, "presets": []}, "not of version 1"),
        ({"format": "lora-explorer presets", "version": 1, "presets": [{"name": SCRIPTED}]}, "holds no configuration"),
        ("x" * (2 * 1024 * 1024 + 1), "larger than 2 MiB"),
    ],
)
def test_another_file_is_refused_in_one_sentence_and_nothing_is_lost(
    mine: Page, content: str | dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    keep(mine, "first")
    before = kept(mine)
    choose_file(mine, content, tmp_path)
    expect(fault(mine)).to_contain_text(sentence, timeout=20_000)
    assert mine.locator(".gallery img").count() == 0
    assert kept(mine) == before


def test_one_preset_leaves_as_a_yaml_file(mine: Page, tmp_path: Path) -> None:
    keep(mine, "Größe / 7 <x>")
    expect(own(mine).locator("code")).to_contain_text("SmolLM2", timeout=20_000)
    with mine.expect_download() as download:
        ask(mine, "Größe / 7 <x>", "YAML file")
    assert download.value.suggested_filename == "gro-e-7-x.yml"
    download.value.save_as(tmp_path / "one.yml")
    assert (tmp_path / "one.yml").read_text(encoding="utf-8") == SMALL


def test_everything_can_be_done_by_keyboard(mine: Page) -> None:
    page = mine
    page.locator("#preset-name").focus()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    assert names(page) == ["typed"]
    page.get_by_role("button", name="Open: typed").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") in ("solid", "auto")
    page.get_by_role("button", name="Open: The usual start").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", "83886080", timeout=20_000)
    page.locator(".gallery-said button").focus()
    page.keyboard.press("Enter")
    expect_trainable_params(page, SMALL_COUNT)
    expect(page.get_by_role("button", name="Open: The usual start")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_gallery_fits_every_width_and_nothing_moves_when_figures_come(
    chromium: Browser, server: str, width: int, theme: str
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{server}/?__theme={theme}")
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    opened(page)
    places = "[...document.querySelectorAll('.preset')].map((e) => [e.offsetTop, e.offsetHeight])"
    before = page.evaluate(places)
    page.wait_for_function(ALL_WEIGHED, timeout=FIGURES_MS)
    assert page.evaluate(places) == before
    keep(page, "one")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    picture = ROOT / "screenshots" / f"presets-{theme}-{width}.png"
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture, full_page=True)
    context.close()


def test_the_count_stands_still_while_presets_are_only_looked_at(page: Page) -> None:
    count = trainable_params(page)
    opened(page)
    card(page, "mistral-7b-dora").locator("summary").click()
    page.wait_for_timeout(500)
    assert trainable_params(page) == count
