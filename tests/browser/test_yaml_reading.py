"""Beside the YAML: problems at their lines, fixes by one press, what differs, what to type in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS, ROOT
from browser.reading import expect_trainable_params, open_tab, type_yaml, yaml_text

pytestmark = pytest.mark.browser

TEXT = """\
# mine
base_model: NousResearch/Meta-Llama-3-8B
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
adapter: lora # kept
lora_r: 16
lora_alpha: 32
lora_target_linear: true
flash_attention: true
batch_size: 8
micro_batch_size: 2
learning_rate: 0.0002
"""
FILE = "my run.yml"
WAIT_MS = 20_000
LINE_OF_CURSOR = """() => {
  const { state } = document.querySelector('#yaml .cm-content').cmTile.view;
  return state.doc.lineAt(state.selection.main.head).number;
}"""
IN_FOCUS = "document.activeElement.closest('#yaml-reading') !== null"


def upload(page: Page, folder: Path, text: str = TEXT) -> None:
    (folder / FILE).write_text(text, encoding="utf-8")
    open_tab(page, "YAML")
    page.set_input_files("input[type=file][accept*=yml]", folder / FILE)
    expect(page.locator("#yaml-file")).to_contain_text(FILE, timeout=WAIT_MS)


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Page:
    upload(page, tmp_path)
    expect(page.locator("#yaml-reading .problems li")).to_have_count(2, timeout=WAIT_MS)
    return page


def test_a_problem_is_marked_at_its_line_and_leads_there_and_back(opened: Page) -> None:
    mark = opened.locator("#yaml .cm-gutterElement[data-mark=warning]")
    expect(mark).to_have_text("11")
    opened.get_by_role("button", name="line 11", exact=True).click()
    opened.wait_for_function(f"({LINE_OF_CURSOR})() === 11")
    expect(opened.locator(".problems .here")).to_contain_text("batch_size")
    mark.click()
    assert opened.evaluate("document.activeElement.closest('.problems li').dataset.line") == "11"


def test_marks_follow_the_lines_while_a_text_is_typed(opened: Page) -> None:
    opened.locator("#yaml .cm-content").click()
    opened.keyboard.press("Control+Home")
    opened.keyboard.type("# one more\n")
    expect(opened.locator("#yaml .cm-gutterElement[data-mark=warning]")).to_have_text("12", timeout=WAIT_MS)


def test_fixes_by_keyboard_change_their_lines_and_leave_the_keyboard_where_it_goes_on(opened: Page) -> None:
    for left in (1, 0):
        opened.locator(".problems .fix").first.focus()
        opened.keyboard.press("Enter")
        expect(opened.locator(".problems .fix")).to_have_count(left, timeout=WAIT_MS)
        opened.wait_for_function(IN_FOCUS)
    before, after = TEXT.splitlines(), yaml_text(opened).splitlines()
    assert [line for line in before if line not in after] == ["flash_attention: true", "batch_size: 8"]
    assert [line for line in after if line not in before] == [
        "attn_implementation: flash_attention_2",
        "gradient_accumulation_steps: 4",
    ]
    expect(opened.locator("#gradient_accumulation_steps input[type=number]")).to_have_value("4")
    expect(opened.locator("#panel-yaml > [role=status]")).to_contain_text("Nothing to report")


def test_a_fix_is_one_press_away_at_its_setting_too(page: Page) -> None:
    type_yaml(page, TEXT + "tokens: ['<tool>']\n")
    fix = page.locator("#lora_modules_to_save .fix")
    expect(fix).to_contain_text("[embed_tokens, lm_head]", timeout=WAIT_MS)
    fix.press("Enter")
    expect(fix).to_have_count(0, timeout=WAIT_MS)
    expect_trainable_params(page, 2 * 128_256 * 4096 + 83_886_080 // 2)
    assert page.evaluate("document.activeElement.closest('.setting')?.id") == "lora_modules_to_save"


def test_the_text_is_laid_over_the_file_and_over_the_start_and_follows(opened: Page) -> None:
    opened.get_by_label("Since the file").check()
    expect(opened.locator("#yaml-reading")).to_contain_text(f"Nothing differs from {FILE}.", timeout=WAIT_MS)
    opened.locator("#lora_r input[type=range]").fill("64")
    expect(opened.locator(".difference .new")).to_contain_text("lora_r: 64", timeout=WAIT_MS)
    opened.get_by_label("Since the start").check()
    expect(opened.locator("#yaml-reading")).to_contain_text("the recipe that the page starts with", timeout=WAIT_MS)
    opened.get_by_label("Meaning").check()
    expect(opened.locator(".problems li")).to_have_count(2, timeout=WAIT_MS)


def test_commands_and_the_download_have_the_name_of_the_file(opened: Page) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.get_by_role("button", name=f"Copy: axolotl train '{FILE}'").click()
    assert opened.evaluate("navigator.clipboard.readText()") == f"axolotl train '{FILE}'"
    with opened.expect_download() as waiting:
        opened.locator("#download-yaml").click()
    assert waiting.value.suggested_filename == FILE


def test_another_program_s_file_stands_in_place_of_the_text_and_follows(page: Page) -> None:
    open_tab(page, "YAML")
    program, shown = page.get_by_label("Program"), page.locator(".other-text")
    expect(program.locator("option")).not_to_have_count(1, timeout=WAIT_MS)
    program.select_option("trl")
    expect(shown).to_contain_text("lora_r: 32", timeout=WAIT_MS)
    expect(page.locator("#yaml-reading")).to_contain_text("TRL")
    expect(page.locator("#yaml")).to_be_hidden()
    page.locator("#lora_r input[type=range]").fill("64")
    expect(shown).to_contain_text("lora_r: 64", timeout=WAIT_MS)
    with page.expect_download() as waiting:
        page.locator("#download-yaml").click()
    assert waiting.value.suggested_filename == "trl.yml"
    program.select_option("axolotl")
    expect(page.locator("#yaml")).to_be_visible()
    assert "lora_r: 64" in yaml_text(page)


def test_an_adapter_config_opens_as_the_yaml_that_means_the_same(page: Page, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    config["base_model_name_or_path"] = "NousResearch/Meta-Llama-3-8B"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    open_tab(page, "YAML")
    page.set_input_files("input[type=file][accept*=yml]", tmp_path / "adapter_config.json")
    expect(page.locator("#yaml-problem")).to_contain_text("a file of PEFT", timeout=WAIT_MS)
    expect_trainable_params(page, 32 * 8 * (4096 + 4096))
    expect(page.locator("#yaml-file")).to_contain_text("axolotl train lora-explorer.yml")


def test_the_editor_is_no_trap_for_the_keyboard(opened: Page) -> None:
    opened.locator("#yaml .cm-content").click()
    opened.keyboard.press("Escape")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.closest('#yaml') === null")


UNUSABLE = (
    b"\xff\xfe\x00", b"a" * 300_000, b"", b"- a", b"a: [", b"\x00", b"a: 1\na: 2", b"x: !!python/name:os", b"\t", b"3",
)  # fmt: skip


def test_files_that_cannot_be_used_are_told_and_the_page_lives_on(page: Page, tmp_path: Path) -> None:
    open_tab(page, "YAML")
    page.wait_for_selector("#yaml-reading .reading")
    for number, content in enumerate(UNUSABLE):
        (tmp_path / f"{number}.yml").write_bytes(content)
        page.set_input_files("input[type=file][accept*=yml]", tmp_path / f"{number}.yml")
        expect(page.locator("#yaml-problem li, #yaml-reading .problems .error").first).to_be_visible(timeout=WAIT_MS)
        assert page.input_value("#lora_r input[type=number]") == "32"
        type_yaml(page, TEXT.replace("lora_r: 16", "lora_r: 32"))
        expect(page.locator("#yaml-reading .problems .error")).to_have_count(0, timeout=WAIT_MS)
    type_yaml(page, TEXT)
    expect(page.locator("#lora_r input[type=number]")).to_have_value("16", timeout=WAIT_MS)


def test_new_tokens_are_a_question_until_somebody_has_some(page: Page) -> None:
    plan = page.locator("#new-tokens")
    expect(plan).to_have_text("Adding tokens?Tokens to add, or how many")
    plan.locator("summary").click()
    plan.locator("input").fill("<tool>, </tool>")
    expect(plan.locator("summary")).to_contain_text("2 new tokens", timeout=WAIT_MS)
    plan.get_by_role("button", name="Train both in full").press("Enter")
    expect(plan.locator(".way-chosen")).to_have_text("in the file", timeout=WAIT_MS)
    assert page.evaluate("document.activeElement.closest('#new-tokens') !== null")
    open_tab(page, "YAML")
    text = yaml_text(page)
    assert "  - embed_tokens\n  - lm_head\n" in text
    assert "  - <tool>\n  - </tool>\n" in text


def test_after_a_paste_what_is_wrong_is_in_view_and_not_what_the_last_line_means(page: Page) -> None:
    keys = "".join(f"weight_decay_{number}: 1\n" for number in range(3)) + "seed: 1\nlogging_steps: 1\nsave_steps: 9\n"
    type_yaml(page, f"lora_rank: 8\n{TEXT}{keys.rstrip()}")
    problem = page.locator("#yaml-reading .problems [data-line='1']")
    expect(problem).to_be_in_viewport(timeout=WAIT_MS)
    page.keyboard.press("Control+Home")
    expect(page.locator("#yaml-reading .problems [data-line='1'].here")).to_be_visible(timeout=WAIT_MS)
    page.keyboard.press("Control+End")
    expect(page.locator("#yaml-reading .meanings [data-line]").last).to_be_in_viewport(timeout=WAIT_MS)


def test_whatever_is_typed_as_tokens_stays_in_its_field_and_breaks_nothing(page: Page) -> None:
    plan = page.locator("#new-tokens")
    plan.locator("summary").click()
    for typed in ("-1", "3.5", "1e9", "10001", "<img src=x>", "0", ",,,", " ", "ü" * 2100, "{{x}}`${y}`"):
        plan.locator("input").fill("2")
        expect(plan.locator("summary")).to_contain_text("2 new tokens", timeout=WAIT_MS)
        plan.locator("input").fill(typed)
        expect(plan.locator("summary")).not_to_contain_text("2 new tokens", timeout=WAIT_MS)
        assert typed.startswith(plan.locator("input").input_value())
    assert plan.locator("img").count() == 0


@pytest.fixture(params=[(width, theme) for width in (390, 1024, 1440) for theme in ("light", "dark")])
def sized(request: pytest.FixtureRequest, chromium: Browser, server: str) -> Iterator[tuple[Page, str]]:
    width, theme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{server}/?__theme={theme}")
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    yield page, f"yaml-{theme}-{width}.png"
    context.close()


def test_the_tab_fits_its_width_and_is_kept_as_a_picture(sized: tuple[Page, str], tmp_path: Path) -> None:
    page, picture = sized
    upload(page, tmp_path)
    expect(page.locator("#yaml-reading .problems li")).to_have_count(2, timeout=WAIT_MS)
    (ROOT / "screenshots").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "screenshots" / picture, full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    left, right = (page.locator(pane).bounding_box() for pane in ("#yaml-left", "#yaml-right"))
    assert left
    assert right
    stacked = page.viewport_size is not None and page.viewport_size["width"] < 760
    assert right["y"] >= left["y"] + left["height"] if stacked else right["x"] >= left["x"] + left["width"]
