"""A link of the whole state, what the browser keeps, undo and redo: as a visitor meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS, Watched
from browser.reading import expect_trainable_params, open_tab, trainable_params, type_yaml, widget, yaml_text

pytestmark = pytest.mark.browser

AT_RANK_32 = 83_886_080
GPT2 = "base_model: openai-community/gpt2\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_modules: [c_attn]\n"
# Twelve layers, in each a matrix from 768 to three times that.
GPT2_AT_RANK_8 = 8 * 12 * (768 + 3 * 768)
RANK = "#lora_r input[type=number]"
SAID = ".link-said:not([hidden])"
STORED = "lora-explorer.draft.1"
TELL = "(pins) => document.addEventListener('pins-wanted', ({ detail }) => detail(pins))"
HEAR_PINS = """() => {
  window.pins = null;
  document.addEventListener("pins-replaced", ({ detail }) => { window.pins = detail; });
}"""
NOW = """() => {
  let draft;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (it) => { draft = it; } }));
  return draft;
}"""


@pytest.fixture
def other(chromium: Browser) -> Iterator[Page]:
    """Another visitor's browser, where nothing is kept yet."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    watched = Watched(context.new_page())
    yield watched.page
    context.close()
    assert watched.elsewhere == []
    assert watched.complaints == []


def tool(page: Page, name: str) -> None:
    page.locator(f'[data-tool="{name}"]').click()


def rank(page: Page) -> str:
    return page.input_value(RANK)


def set_rank(page: Page, value: int) -> None:
    page.locator("#lora_r input[type=range]").fill(str(value))
    expect_trainable_params(page, AT_RANK_32 // 32 * value)


def rest(page: Page) -> None:
    """Long enough that the next move of a slider is a change of its own, and that the draft is kept."""
    page.wait_for_timeout(1100)


def shared(page: Page) -> str:
    """The link, as the clipboard has it."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tool(page, "share")
    expect(page.locator(SAID)).to_contain_text("Link copied.", timeout=20_000)
    link = str(page.evaluate("navigator.clipboard.readText()"))
    assert page.url == link
    return link


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)


def settle(page: Page) -> None:
    """Until nothing is on its way that leaving would cut off."""
    page.wait_for_timeout(1500)
    savings = page.locator("#savings")
    expect(savings).to_contain_text("GiB", timeout=60_000)
    expect(savings).not_to_contain_text("traced like the run itself", timeout=60_000)
    page.wait_for_load_state("networkidle")


def come_back(page: Page) -> None:
    settle(page)
    page.reload()
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)


def headline(page: Page) -> list[str | None]:
    expect(page.locator("#fits[data-value]")).to_be_visible(timeout=30_000)
    page.wait_for_function("!document.body.classList.contains('weighing')")
    names = ("trainable-params", "all-params", "trainable-percent", "peak-memory", "fits")
    return [page.get_attribute(f"#{name}", "data-value") for name in names]


def text_of(page: Page) -> str:
    open_tab(page, "YAML")
    text = yaml_text(page)
    open_tab(page, "Explore")
    return text


def test_a_shared_link_shows_the_same_figures_card_and_yaml_elsewhere(page: Page, other: Page) -> None:
    set_rank(page, 64)
    page.locator("#card input").click()
    page.get_by_role("option", name="T4", exact=True).click()
    page.locator("#expandable_segments input").uncheck()
    expect(page.locator("#memory-tiles")).to_contain_text("T4", timeout=20_000)
    link = shared(page)
    visit(other, link)
    expect(other.locator(SAID)).to_contain_text("Opened from a link.")
    expect(other.locator("#card input")).to_have_value("T4")
    expect(other.locator("#expandable_segments input")).not_to_be_checked()
    assert rank(other) == "64"
    assert headline(other) == headline(page)
    assert text_of(other) == text_of(page)
    assert other.locator('[data-tool="undo"]').get_attribute("aria-disabled") == "true"


def test_pinned_configurations_travel_in_the_link(page: Page, other: Page) -> None:
    draft = page.evaluate(NOW)
    pins = [{"name": "low", "draft": draft}, {"name": "high", "draft": {**draft, "touched": {"lora_r": 128}}}]
    page.evaluate(TELL, pins)
    link = shared(page)
    expect(page.locator(SAID)).to_contain_text("2 pinned configurations")
    other.add_init_script(f"({HEAR_PINS})()")
    visit(other, link)
    heard = other.evaluate("pins")
    assert [pin["name"] for pin in heard] == ["low", "high"]
    assert "lora_r: 128" in heard[1]["draft"]["text"]


def test_what_is_not_in_the_link_is_said_and_no_path_is_in_it(page: Page, other: Page, server: str) -> None:
    type_yaml(page, GPT2 + "my_key: 1\n")
    expect_trainable_params(page, GPT2_AT_RANK_8)
    page.evaluate(
        """document.dispatchEvent(
          new CustomEvent("setting-touched", { detail: { name: "lora_model_dir", value: "/home/me/x" } }))"""
    )
    page.wait_for_timeout(300)
    link = shared(page)
    expect(page.locator(f"{SAID} li")).to_have_count(2)
    expect(page.locator(SAID)).to_contain_text("lora_model_dir is a folder of this machine")
    expect(page.locator(SAID)).to_contain_text("my_key")
    assert link.startswith(f"{server}/#c=")
    visit(other, link)
    assert "home" not in text_of(other)
    assert trainable_params(other) == GPT2_AT_RANK_8


def test_a_clipboard_that_refuses_leaves_the_link_in_a_field_to_copy_by_hand(page: Page) -> None:
    page.evaluate(
        """() => {
          const writeText = () => Promise.reject(new Error("refused"));
          Object.defineProperty(navigator, "clipboard", { value: { writeText } });
          document.execCommand = () => false;
        }"""
    )
    tool(page, "share")
    field = page.get_by_label("Link to these settings")
    expect(field).to_be_visible(timeout=20_000)
    expect(field).to_be_focused()
    assert field.input_value() == page.url
    assert field.evaluate("(field) => field.selectionEnd - field.selectionStart") == len(page.url)


def test_settings_that_cannot_be_used_are_not_shared_and_a_sentence_says_why(page: Page) -> None:
    page.locator(RANK).fill("0")
    tool(page, "share")
    expect(page.locator(SAID)).to_contain_text("lora_r must be", timeout=20_000)
    assert "#c=" not in page.url


@pytest.mark.parametrize("link", ["1qhzDlgRQ", "zzz", "", "2AAAA", "%00<b>", "1" * 7000])
def test_a_broken_link_is_one_sentence_and_leaves_the_page_as_it_was(page: Page, link: str) -> None:
    set_rank(page, 48)
    before = page.evaluate(NOW)
    page.evaluate("(link) => { location.hash = `c=${link}`; }", link)
    expect(page.locator(f"{SAID}[data-bad]")).to_be_visible(timeout=20_000)
    assert page.locator(f"{SAID} p").inner_text().count(". ") == 0
    assert page.evaluate(NOW) == before
    assert trainable_params(page) == AT_RANK_32 // 32 * 48


def test_a_broken_link_shows_the_start_to_a_first_visitor(other: Page, server: str) -> None:
    visit(other, f"{server}/#c=1broken")
    expect(other.locator(f"{SAID}[data-bad]")).to_be_visible()
    assert trainable_params(other) == AT_RANK_32


def test_a_link_that_is_pasted_into_the_open_page_is_opened_and_can_be_undone(page: Page) -> None:
    set_rank(page, 64)
    link = shared(page)
    rest(page)
    set_rank(page, 16)
    assert "#c=" not in page.url
    page.evaluate("(link) => { location.href = link; }", link)
    expect_trainable_params(page, AT_RANK_32 * 2)
    expect(page.locator(SAID)).to_contain_text("Undo brings your own settings back.")
    tool(page, "undo")
    expect_trainable_params(page, AT_RANK_32 // 2)
    assert "#c=" not in page.url


def test_a_reload_loses_nothing_and_counts_only_what_was_there(page: Page) -> None:
    type_yaml(page, text_of(page) + "my_key: 1 # mine\n")
    page.wait_for_function(f"({NOW})().text.includes('my_key')")
    set_rank(page, 64)
    before = page.evaluate(NOW)
    rest(page)
    open_tab(page, "Explore")
    page.add_init_script(
        """window.counts = new Set();
        new MutationObserver(() => {
          const seen = document.getElementById("trainable-params")?.dataset.value;
          if (seen) window.counts.add(seen);
        }).observe(document, { childList: true, subtree: true, attributes: true });"""
    )
    come_back(page)
    assert page.evaluate("[...counts]") == [str(2 * AT_RANK_32)]
    expect(page.locator(RANK)).to_have_value("64", timeout=20_000)
    assert page.evaluate(NOW)["text"] == before["text"]
    assert "my_key: 1 # mine" in text_of(page)


def test_a_reload_after_sharing_keeps_what_the_link_leaves_out(page: Page) -> None:
    type_yaml(page, text_of(page) + "my_key: 1\n")
    expect(page.locator("#yaml")).to_contain_text("my_key", timeout=20_000)
    open_tab(page, "Explore")
    settle(page)
    shared(page)
    rest(page)
    come_back(page)
    assert "my_key: 1" in text_of(page)


def test_a_link_that_is_opened_over_kept_settings_gives_them_back_by_undo(page: Page, other: Page, server: str) -> None:
    set_rank(page, 64)
    link = shared(page)
    visit(other, server)
    set_rank(other, 8)
    settle(other)
    other.goto("about:blank")
    visit(other, link)
    expect_trainable_params(other, 2 * AT_RANK_32)
    tool(other, "undo")
    expect_trainable_params(other, AT_RANK_32 // 4)


KEPT = {
    "text": "lora_r: 8\n", "touched": {}, "card": "T4", "expandable_segments": True, "config": "", "config_for": None,
    "unread": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "stored",
    [
        "{",
        "null",
        "7",
        json.dumps({"draft": {**KEPT, "text": 7}}),
        json.dumps({"draft": {**KEPT, "touched": []}}),
        json.dumps({"draft": {key: KEPT[key] for key in ("text", "touched")}}),
        json.dumps({"state": KEPT}),
    ],
    ids=range(7),
)
def test_what_an_older_page_has_kept_in_another_shape_is_ignored(other: Page, server: str, stored: str) -> None:
    other.add_init_script(f"localStorage.setItem({STORED!r}, {json.dumps(stored)})")
    visit(other, server)
    assert trainable_params(other) == AT_RANK_32


def test_kept_settings_that_no_widget_could_hold_are_left_out_and_the_page_works(other: Page, server: str) -> None:
    touched = {"lora_r": {"a": 1}, "lora_target_modules": 3, "bf16": [1], "lora_alpha": 64, "no_such": 1}
    draft = {**KEPT, "text": "base_model: gpt2\nlora_r: 8\nlora_target_linear: true\n", "touched": touched}
    other.add_init_script(f"localStorage.setItem({STORED!r}, {json.dumps(json.dumps({'draft': draft}))})")
    visit(other, server)
    expect(other.locator(RANK)).to_have_value("8", timeout=20_000)
    expect(other.locator("#lora_alpha input[type=number]")).to_have_value("64", timeout=20_000)


def test_a_browser_that_forbids_storage_shows_the_page(other: Page, server: str) -> None:
    other.add_init_script(
        """for (const name of ["localStorage", "sessionStorage"])
          Object.defineProperty(window, name, { get() { throw new DOMException("forbidden", "SecurityError"); } });"""
    )
    visit(other, server)
    set_rank(other, 40)
    rest(other)
    tool(other, "undo")
    expect_trainable_params(other, AT_RANK_32)


def test_undo_and_redo_by_the_buttons(page: Page) -> None:
    undo, redo = page.locator('[data-tool="undo"]'), page.locator('[data-tool="redo"]')
    expect(undo).to_have_attribute("aria-disabled", "true")
    set_rank(page, 64)
    expect(undo).to_have_attribute("aria-label", "Undo: lora_r")
    rest(page)
    set_rank(page, 128)
    undo.click()
    expect_trainable_params(page, 2 * AT_RANK_32)
    undo.click()
    expect_trainable_params(page, AT_RANK_32)
    expect(undo).to_have_attribute("aria-disabled", "true")
    redo.click()
    redo.click()
    expect_trainable_params(page, 4 * AT_RANK_32)
    expect(page.locator(RANK)).to_have_value("128", timeout=20_000)
    expect(redo).to_have_attribute("aria-disabled", "true")
    undo.click()
    expect_trainable_params(page, 2 * AT_RANK_32)
    rest(page)
    set_rank(page, 16)
    expect(redo).to_have_attribute("aria-disabled", "true")


def test_a_drag_is_one_change_however_long_it_takes(page: Page) -> None:
    slider = page.locator("#lora_r input[type=range]")
    box = slider.bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.1, height)
    page.mouse.down()
    for share in (0.2, 0.3, 0.4):
        page.mouse.move(box["x"] + box["width"] * share, height, steps=4)
    page.wait_for_timeout(1300)
    page.mouse.move(box["x"] + box["width"] * 0.5, height, steps=4)
    page.mouse.up()
    assert int(rank(page)) > 32
    tool(page, "undo")
    expect(page.locator(RANK)).to_have_value("32", timeout=20_000)
    expect(page.locator('[data-tool="undo"]')).to_have_attribute("aria-disabled", "true")


def test_undo_by_keyboard_reaches_everything_but_fields_that_have_their_own(page: Page) -> None:
    set_rank(page, 64)
    rest(page)
    page.locator("#lora_r input[type=range]").focus()
    page.keyboard.press("Control+z")
    expect_trainable_params(page, AT_RANK_32)
    page.keyboard.press("Control+Shift+Z")
    expect_trainable_params(page, 2 * AT_RANK_32)
    page.keyboard.press("Control+z")
    expect_trainable_params(page, AT_RANK_32)
    page.keyboard.press("Control+y")
    expect_trainable_params(page, 2 * AT_RANK_32)
    page.locator("#lora_alpha input[type=number]").focus()
    page.keyboard.press("Control+z")
    page.wait_for_timeout(500)
    assert trainable_params(page) == 2 * AT_RANK_32


def test_two_quick_undos_go_two_steps_back(page: Page) -> None:
    for value in (64, 96):
        set_rank(page, value)
        rest(page)
    page.locator("#brand").click()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect_trainable_params(page, AT_RANK_32)
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+y")
    expect_trainable_params(page, 3 * AT_RANK_32)
    rest(page)
    expect(page.locator(RANK)).to_have_value("96", timeout=20_000)


def test_a_text_with_other_targets_is_one_change_and_undo_brings_the_widgets_back(page: Page) -> None:
    before = text_of(page)
    type_yaml(page, before.replace("lora_target_linear: true", "lora_target_modules: [q_proj, v_proj]"))
    expect(page.locator(widget(page, "lora_target_modules"))).to_contain_text("q_proj", timeout=20_000)
    rest(page)
    undo = page.locator('[data-tool="undo"]')
    expect(undo).to_have_attribute("aria-label", "Undo: the YAML")
    undo.click()
    expect_trainable_params(page, AT_RANK_32)
    expect(page.locator(widget(page, "lora_target_modules"))).not_to_contain_text("q_proj")
    expect(undo).to_have_attribute("aria-disabled", "true")
    page.wait_for_timeout(500)
    assert yaml_text(page) == before


def test_an_uploaded_config_and_a_pressed_saving_can_be_undone(page: Page) -> None:
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512, "intermediate_size": 1024,
        "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 1000,
    }  # fmt: skip
    file = {"name": "config.json", "mimeType": "application/json", "buffer": json.dumps(config).encode()}
    page.set_input_files("input[type=file][accept*=json]:not([accept*=yml])", [file])  # type: ignore[list-item]
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", str(AT_RANK_32), timeout=20_000)
    expect(page.locator('[data-tool="undo"]')).to_have_attribute("aria-label", "Undo: the config.json")
    tool(page, "undo")
    expect_trainable_params(page, AT_RANK_32)
    pressed = page.locator("#savings [data-touches]").first
    pressed.wait_for(timeout=60_000)
    before = text_of(page)
    pressed.click()
    rest(page)
    assert text_of(page) != before
    tool(page, "undo")
    rest(page)
    assert text_of(page) == before
    expect_trainable_params(page, AT_RANK_32)


def test_starting_over_shows_the_start_and_can_be_undone(page: Page) -> None:
    over = page.get_by_role("button", name="Start over")
    expect(over).to_have_attribute("aria-disabled", "true")
    set_rank(page, 64)
    over.click()
    expect_trainable_params(page, AT_RANK_32)
    expect(over).to_have_attribute("aria-disabled", "true")
    tool(page, "undo")
    expect_trainable_params(page, 2 * AT_RANK_32)
    expect(page.locator(RANK)).to_have_value("64", timeout=20_000)


def test_only_the_last_fifty_changes_are_kept(page: Page) -> None:
    page.evaluate(
        """() => {
          for (let step = 1; step <= 120; step++) {
            const detail = { name: step % 2 ? "lora_r" : "lora_alpha", value: 32 + step };
            document.dispatchEvent(new CustomEvent("setting-touched", { detail }));
          }
        }"""
    )
    for _ in range(60):
        page.evaluate("document.querySelector('[data-tool=undo]').click()")
    rest(page)
    expect(page.locator('[data-tool="undo"]')).to_have_attribute("aria-disabled", "true")
    held = page.evaluate(NOW)["touched"]
    assert (held["lora_r"], held["lora_alpha"]) == (32 + 69, 32 + 70)
