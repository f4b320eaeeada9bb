"""The page in Chinese and Japanese: what a browser asks for is what is read, and nothing of it goes into the draft."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS, Watched
from lora_explorer.languages import LANGUAGES, catalogue, translated

pytestmark = pytest.mark.browser

# What still stands in English: three words in a row, outside of what somebody else wrote.
ENGLISH = r"""() => {
  const verbatim = '[translate="no"], textarea, pre, code, samp, kbd, .cm-editor, script, style, footer, .modebar';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT,
    (node) => node.nodeType === 1 && node.matches(verbatim) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const attributes = ["placeholder", "title", "aria-label"], found = new Set();
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const text of node.nodeType === 3 ? [node.data] : attributes.map((name) => node.getAttribute(name) ?? ""))
      if (/[a-z]{2,} [a-z]+ [a-z]{2,}/.test(text)) found.add(text.trim());
  return [...found];
}"""
# Names of cards, of PyTorch's attention, of papers and of who publishes prices; commands.
NAMES = ("(one of two dies)", "scaled dot product", "arXiv", "RunPod", "axolotl train", "lora-explorer check")


def _english(page: Page) -> list[str]:
    return [text for text in page.evaluate(ENGLISH) if not any(name in text for name in NAMES)]


@pytest.fixture(params=sorted(translated()))
def foreign(request: pytest.FixtureRequest, chromium: Browser, server: str) -> Iterator[tuple[str, Page]]:
    """The page of a visitor whose browser speaks another language."""
    context = chromium.new_context(locale=request.param, viewport={"width": 1440, "height": 1000})
    watched = Watched(context.new_page())
    watched.page.goto(server)
    watched.page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    yield request.param, watched.page
    context.close()
    assert (watched.elsewhere, watched.complaints) == ([], [])


def test_labels_tabs_tiles_and_buttons_are_in_the_browser_s_language(foreign: tuple[str, Page]) -> None:
    language, page = foreign
    said = catalogue(language)
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("#lora_r .setting-label")).to_have_text(said["Rank"])
    expect(page.locator("#load_in_4bit")).to_contain_text(said["4-bit base weights"])
    expect(page.get_by_role("tab", name=said["Explore"])).to_be_visible()
    expect(page.locator(".tile-title").first).to_have_text(said["Trainable parameters"])
    expect(page.locator("#copy-yaml")).to_have_text(said["Copy YAML"])
    expect(page.locator("#group-adapter > button")).to_contain_text(said["Adapter"])


def test_no_sentence_of_the_tabs_stays_english(foreign: tuple[str, Page]) -> None:
    page = foreign[1]
    expect(page.locator("#params-by-kind .kind-bars")).to_be_visible(timeout=FIRST_COUNT_MS)
    assert _english(page) == []
    for tab in ("presets", "fit", "compare", "sweeps", "preview", "yaml", "history"):
        page.locator(f'[role=tab][data-tab-id="{tab}"]').click()
        expect(page.locator(f'[role=tab][data-tab-id="{tab}"]')).to_have_attribute("aria-selected", "true")
        assert _english(page) == []
    assert "__i18n__" not in page.content()


def test_a_figure_that_changes_keeps_its_words(foreign: tuple[str, Page]) -> None:
    language, page = foreign
    page.locator("#lora_r input[type=range]").fill("64")
    expect(page.locator("#trainable-params")).to_have_text("167,772,160", timeout=FIRST_COUNT_MS)
    expect(page.locator(".tile-title").first).to_have_text(catalogue(language)["Trainable parameters"])
    page.locator("#lora_r input[type=number]").fill("0")
    expect(page.locator("#lora_r .sentence")).not_to_contain_text("must be", timeout=FIRST_COUNT_MS)
    expect(page.locator("#lora_r .sentence")).to_contain_text("lora_r")


def test_a_list_that_is_looked_at_does_not_become_its_translation(foreign: tuple[str, Page]) -> None:
    """What is shown for a choice is no value; a list that is left as it was has changed nothing."""
    language, page = foreign
    with page.expect_response(lambda response: "/run" in response.url or "predict" in response.url):
        page.locator("#lora_r input[type=range]").fill("48")
    page.locator("#group-adapter .more > button").click()
    field = page.locator("#peft_init_lora_weights input")
    expect(field).to_have_value(catalogue(language)["not set"])
    field.focus()
    page.keyboard.press("Tab")
    expect(field).to_have_value(catalogue(language)["not set"])
    touched = page.evaluate(
        """() => { let draft; document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (d) => (draft = d) }));
          return draft.touched; }"""
    )
    assert touched["lora_r"] == 48
    assert touched.get("peft_init_lora_weights", "") == ""


def test_the_yaml_is_not_translated(foreign: tuple[str, Page]) -> None:
    _, page = foreign
    page.locator('[role=tab][data-tab-id="yaml"]').click()
    expect(page.locator("#yaml .cm-content")).to_contain_text("base_model: NousResearch/Meta-Llama-3-8B")


def test_the_page_fits_a_phone(foreign: tuple[str, Page]) -> None:
    _, page = foreign
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    cut = "[...document.querySelectorAll('.tile-number')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(cut) == 0


def test_no_frame_is_painted_in_english_first(chromium: Browser, server: str) -> None:
    context = chromium.new_context(locale="zh-CN")
    page = context.new_page()
    page.add_init_script(
        """window.seen = new Set();
        const look = () => {
          const label = document.querySelector("#lora_r .setting-label");
          if (label && getComputedStyle(document.body).visibility === "visible") seen.add(label.textContent);
          requestAnimationFrame(look);
        };
        requestAnimationFrame(look);"""
    )
    page.goto(server)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    assert page.evaluate("[...seen]") == [catalogue("zh-CN")["Rank"]]
    context.close()


def test_an_english_visitor_loads_no_catalogue_and_may_choose_one(chromium: Browser, server: str) -> None:
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/languages/" in request.url else None)
    page.goto(server)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    assert asked == []
    title = page.locator(".tile-title").first
    page.locator("#language").select_option("ja")
    expect(title).to_have_text(catalogue("ja")["Trainable parameters"])
    page.locator("#language").select_option("zh-CN")
    expect(title).to_have_text(catalogue("zh-CN")["Trainable parameters"])
    page.reload()
    expect(title).to_have_text(catalogue("zh-CN")["Trainable parameters"], timeout=FIRST_COUNT_MS)
    expect(page.locator("#language")).to_have_value("zh-CN")
    page.locator("#language").select_option("en")
    expect(title).to_have_text("Trainable parameters")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    context.close()


@pytest.mark.parametrize(
    ("browser_s", "page_s"),
    [("zh", "zh-CN"), ("zh-Hans-SG", "zh-CN"), ("zh-TW", "en"), ("ja-JP", "ja"), ("de-DE", "en"), ("en-GB", "en")],
)
def test_the_language_is_the_nearest_to_the_browser_s(
    chromium: Browser, server: str, browser_s: str, page_s: str
) -> None:
    context = chromium.new_context(locale=browser_s)
    page = context.new_page()
    page.goto(server)
    expect(page.locator("#language")).to_have_value(page_s, timeout=20_000)
    assert page_s in LANGUAGES
    context.close()


def test_a_choice_that_a_stranger_wrote_into_the_storage_is_none(chromium: Browser, server: str) -> None:
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.add_init_script("localStorage.setItem('lora-explorer.language.1', '__proto__')")
    page.goto(server)
    expect(page.locator("#language")).to_have_value("en", timeout=20_000)
    context.close()
