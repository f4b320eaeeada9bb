"""Understanding by touching: the map as a control, one matrix, and what each setting changes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.reading import expect_trainable_params, open_tab, trainable_params, widget, yaml_text
from lora_explorer.settings import SETTINGS

pytestmark = pytest.mark.browser

AT_RANK_32 = 83_886_080
# One q_proj of Llama 3 8B at rank 32.
Q_PROJ = 32 * (4096 + 4096)
LAYERS = 32


def drag(page: Page, kinds: tuple[str, str], layers: tuple[int, int], *, above: str = ".heat-plot") -> None:
    """Draw a block over the map from the middle of one cell to that of another one."""
    page.locator("#panel-layers .heat").scroll_into_view_if_needed()
    plot = page.locator(above).bounding_box()
    assert plot is not None
    start, end = (place_of(page, kind) for kind in kinds)
    across = [plot["x"] + plot["width"] * (layer + 0.5) / LAYERS for layer in layers]
    page.mouse.move(across[0], start)
    page.mouse.down()
    page.mouse.move(across[1], end, steps=5)
    page.mouse.up()


def place_of(page: Page, kind: str) -> float:
    box = page.locator(f'.heat-row[data-row="{kind}"]').bounding_box()
    assert box is not None
    return box["y"] + box["height"] / 2


def said(page: Page) -> Locator:
    return page.locator(".map-said .sentence")


def about(page: Page, key: str) -> Locator:
    page.locator(f"{widget(page, key)} .about").click()
    box = page.locator(".about-box")
    expect(box).to_be_visible()
    return box


@pytest.fixture
def drawn(page: Page) -> Page:
    """The page, once its map and the first matrix are there."""
    expect(page.locator(".heat-row[data-row]")).to_have_count(7, timeout=20_000)
    expect(page.locator(".matrix:visible")).to_have_count(1)
    return page


def test_a_block_that_is_drawn_gets_a_rank_of_its_own(drawn: Page) -> None:
    drag(drawn, ("q_proj", "q_proj"), (8, 15))
    expect(drawn.locator(".map-chosen")).to_have_text("q_proj, layers 8 to 15")
    drawn.locator('[data-for="rank"]').fill("64")
    drawn.locator('[data-for="rank"]').press("Enter")
    expect(said(drawn)).to_contain_text("Written: lora_rank_pattern", timeout=20_000)
    expect_trainable_params(drawn, AT_RANK_32 + 8 * Q_PROJ)
    # The block stays chosen, and the matrix is that of the layer it ends at.
    expect(drawn.locator(".heat-chosen")).to_be_visible()
    expect(drawn.locator(".matrix:visible text", has_text="64 × 4,096")).to_be_visible(timeout=20_000)
    open_tab(drawn, "YAML")
    assert "lora_rank_pattern" in yaml_text(drawn)


def test_a_name_switches_its_row_and_a_faint_one_switches_it_back(drawn: Page) -> None:
    name = drawn.get_by_role("button", name="q_proj", exact=True)
    expect(name).to_have_attribute("aria-pressed", "true")
    name.click()
    expect_trainable_params(drawn, AT_RANK_32 - LAYERS * Q_PROJ)
    expect(drawn.locator('.heat-row.untrained[data-row="q_proj"]')).to_be_visible(timeout=20_000)
    expect(said(drawn)).to_contain_text("lora_target_modules")
    expect(name).to_have_attribute("aria-pressed", "false")
    name.click()
    expect_trainable_params(drawn, AT_RANK_32)
    expect(said(drawn)).to_have_text(re.compile("lora_target_linear: true"))


def test_the_map_works_by_keyboard_alone(drawn: Page) -> None:
    drawn.locator(".heat-cell").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Home", "Shift+End"):
        drawn.keyboard.press(key)
    cell = drawn.locator(".heat-cell")
    expect(cell).to_have_attribute("aria-label", "o_proj, layer 31: rank 32, alpha 16, 262,144 parameters")
    expect(cell).to_have_attribute("aria-selected", "true")
    expect(cell).to_have_attribute("aria-colindex", str(LAYERS + 1))
    expect(drawn.locator(".map-chosen")).to_have_text("o_proj, all layers")
    drawn.keyboard.press("Enter")
    drawn.keyboard.press("Tab")
    drawn.keyboard.press("Enter")
    expect(said(drawn)).to_contain_text("lora_target_modules", timeout=20_000)
    expect_trainable_params(drawn, AT_RANK_32 - LAYERS * Q_PROJ)
    cell.focus()
    drawn.keyboard.press("Escape")
    expect(drawn.locator(".map-chosen")).to_contain_text("Nothing is chosen")
    expect(drawn.get_by_role("button", name="Do not train")).to_be_disabled()


def test_names_are_reached_by_the_arrow_keys_and_keep_the_focus_when_pressed(drawn: Page) -> None:
    drawn.locator(".heat-cell").focus()
    drawn.keyboard.press("ArrowLeft")
    name = drawn.get_by_role("button", name="q_proj", exact=True)
    expect(name).to_be_focused()
    drawn.keyboard.press("Space")
    expect_trainable_params(drawn, AT_RANK_32 - LAYERS * Q_PROJ)
    expect(name).to_have_attribute("aria-pressed", "false", timeout=20_000)
    expect(name).to_be_focused()
    drawn.keyboard.press("ArrowDown")
    expect(drawn.get_by_role("button", name="k_proj", exact=True)).to_be_focused()


def test_the_grid_has_one_stop_for_the_tab_key(drawn: Page) -> None:
    assert drawn.locator('.heat [tabindex="0"]').count() == 1
    drawn.locator(".heat-cell").focus()
    drawn.keyboard.press("Tab")
    assert not drawn.evaluate("document.activeElement.closest('[role=grid]')")


def test_layers_are_chosen_over_the_numbers_below_the_map(drawn: Page) -> None:
    ticks = drawn.locator(".heat-ticks")
    ticks.scroll_into_view_if_needed()
    box = ticks.bounding_box()
    assert box is not None
    drawn.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + 6)
    drawn.mouse.down()
    drawn.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 6, steps=4)
    drawn.mouse.up()
    expect(drawn.locator(".map-chosen")).to_have_text("7 kinds, layers 16 to 31")
    drawn.get_by_role("button", name="Do not train").click()
    expect(said(drawn)).to_have_text("Written: peft_layers_to_transform: 0–15.", timeout=20_000)
    expect_trainable_params(drawn, AT_RANK_32 // 2)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "whole number"),
        ("0", "between 1 and"),
        ("-3", "between 1 and"),
        ("2.5", "whole number"),
        ("99999", "between"),
    ],
)
def test_a_rank_that_cannot_be_says_so_at_its_field_and_changes_nothing(drawn: Page, typed: str, sentence: str) -> None:
    drag(drawn, ("q_proj", "k_proj"), (0, 3))
    field = drawn.locator('[data-for="rank"]')
    field.fill(typed)
    field.press("Enter")
    expect(said(drawn)).to_contain_text(sentence, timeout=20_000)
    assert trainable_params(drawn) == AT_RANK_32
    assert field.input_value() == typed


def test_what_cannot_be_said_gets_its_sentence(drawn: Page) -> None:
    drawn.locator(".heat-cell").focus()
    drawn.keyboard.press("Control+a")
    expect(drawn.locator(".map-chosen")).to_have_text("7 kinds, all layers")
    drawn.get_by_role("button", name="Do not train").click()
    expect(said(drawn)).to_contain_text("at least one module must stay", timeout=20_000)
    assert trainable_params(drawn) == AT_RANK_32


def test_the_matrix_is_that_of_the_chosen_kind_and_follows_the_slider(drawn: Page) -> None:
    matrix = drawn.locator(".matrix:visible")
    expect(matrix.locator("h3")).to_have_text("What does LoRA add to one q_proj?")
    drag(drawn, ("down_proj", "down_proj"), (2, 2))
    expect(matrix.locator("h3")).to_have_text("What does LoRA add to one down_proj?")
    drawn.locator("#lora_r input[type=range]").fill("128")
    expect(matrix.locator("svg")).to_have_attribute(
        "aria-label",
        "W (4,096 by 14,336, 58.7 M frozen parameters) plus 0.125 times B (4,096 by 128, 524 k trained parameters) "
        "times A (128 by 14,336, 1.84 M trained parameters).",
        timeout=20_000,
    )
    expect(matrix.locator("h3")).to_have_text("What does LoRA add to one down_proj?")


def test_a_matrix_with_dora_has_a_magnitude(drawn: Page) -> None:
    drawn.locator("#peft_use_dora input").check()
    expect(drawn.locator(".matrix:visible .matrix-words")).to_contain_text("A, B and m add", timeout=20_000)


def test_nothing_below_the_map_moves_when_another_kind_or_block_is_chosen(drawn: Page) -> None:
    drag(drawn, ("q_proj", "q_proj"), (0, 0))
    tops = set()
    for kind in ("q_proj", "k_proj", "up_proj"):
        drag(drawn, (kind, kind), (0, 20))
        expect(drawn.locator(".matrix:visible h3")).to_contain_text(kind)
        tops.add(
            drawn.evaluate("document.querySelector('#params-by-kind').getBoundingClientRect().top + window.scrollY")
        )
    assert len(tops) == 1


def test_every_setting_has_a_button_also_in_sections_that_open_later(page: Page) -> None:
    for more in page.locator(".more > button").all():
        more.click()
    page.wait_for_timeout(500)
    # Gradio draws what a section holds once it is opened; a setting that is hidden now is there too.
    settings = page.locator("#controls .block.setting[id]")
    expect(page.locator("#controls .block.setting[id] > .about")).to_have_count(settings.count())
    assert settings.count() == len(SETTINGS)


def test_a_setting_tells_what_it_changes_from_here(page: Page) -> None:
    box = about(page, "lora_r")
    expect(box.get_by_role("heading", level=2)).to_have_text("Rank")
    expect(box.locator(".about-help")).to_contain_text("r × (in + out) parameters")
    expect(box.get_by_role("link")).to_have_attribute("href", "https://arxiv.org/abs/2106.09685")
    rows = box.locator(".effects tbody tr")
    expect(rows).to_have_count(3, timeout=20_000)
    expect(rows.nth(0)).to_contain_text("83,886,080")
    expect(rows.nth(2)).to_contain_text("167,772,160")
    expect(box).not_to_contain_text("…", timeout=30_000)
    expect(rows.nth(0)).to_contain_text("GiB")


def test_a_value_that_is_pressed_becomes_the_setting_and_is_compared_anew(page: Page) -> None:
    box = about(page, "lora_r")
    box.get_by_role("button", name="64", exact=True).click(timeout=20_000)
    expect_trainable_params(page, 2 * AT_RANK_32)
    expect(page.locator("#lora_r input[type=number]")).to_have_value("64")
    expect(box.locator(".effects tbody tr").nth(0)).to_contain_text("167,772,160", timeout=20_000)
    expect(box.get_by_role("button", name="128", exact=True)).to_be_visible()


def test_escape_closes_it_and_the_focus_is_where_it_was(page: Page) -> None:
    button = page.locator(f"{widget(page, 'lora_alpha')} .about")
    button.focus()
    page.keyboard.press("Enter")
    box = page.locator(".about-box")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(button).to_be_focused()


def test_the_page_does_not_move_when_a_setting_is_explained(page: Page) -> None:
    places = "[...document.querySelectorAll('.block.setting, .tile')].map((one) => one.getBoundingClientRect().top)"
    page.locator(widget(page, "lora_dropout")).scroll_into_view_if_needed()
    before = page.evaluate(places)
    about(page, "lora_dropout")
    page.wait_for_timeout(1500)
    assert page.evaluate(places) == before


def test_settings_at_fault_are_told_where_a_setting_is_explained(page: Page) -> None:
    page.locator("#lora_r input[type=number]").fill("0")
    expect(page.locator("#lora_r > .sentence")).to_be_visible(timeout=20_000)
    box = about(page, "lora_alpha")
    expect(box.locator(".sentence")).to_contain_text("lora_r", timeout=20_000)
    expect(box.locator(".about-help")).to_be_visible()


def test_the_longer_help_is_fetched_when_it_is_opened(page: Page) -> None:
    assert "r × (in + out) parameters" not in page.content()
    about(page, "lora_r")
    expect(page.locator(".about-help")).to_contain_text("r × (in + out) parameters", timeout=20_000)
