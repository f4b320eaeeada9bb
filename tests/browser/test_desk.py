"""The draft as other parts of the page see it: told when it changes, given when asked for, replaced as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.reading import trainable_params, widget, yaml_text

pytestmark = pytest.mark.browser

LISTEN = (
    """() => { window.told = []; document.addEventListener("draft-changed", ({ detail }) => told.push(detail)); }"""
)
NOW = """() => {
  let draft;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (it) => { draft = it; } }));
  return draft;
}"""
REPLACE = """(draft) => document.dispatchEvent(new CustomEvent("draft-replaced", { detail: { draft } }))"""
FIELDS = {"text", "touched", "card", "expandable_segments", "config", "config_for", "unread"}


def told(page: Page) -> list[dict[str, Any]]:
    return list(page.evaluate("told"))


def test_a_change_is_told_once_and_no_change_is_not_told(page: Page) -> None:
    page.evaluate(LISTEN)
    page.locator("#lora_r input[type=range]").fill("48")
    expect(page.locator("#lora_r input[type=number]")).to_have_value("48")
    assert [one["touched"] for one in told(page)] == [{"lora_r": 48}]
    assert set(told(page)[0]) == FIELDS
    page.evaluate(
        """document.dispatchEvent(new CustomEvent("setting-touched", { detail: { name: "lora_r", value: 48 } }))"""
    )
    page.wait_for_timeout(300)
    assert len(told(page)) == 1
    assert page.evaluate(NOW) == told(page)[0]


def test_another_draft_shows_everywhere_and_the_one_before_can_come_back(page: Page) -> None:
    before, count = page.evaluate(NOW), trainable_params(page)
    page.evaluate(LISTEN)
    other = {
        **before,
        "text": "# other\nbase_model: openai-community/gpt2\nadapter: lora\nlora_r: 4\n"
        "lora_alpha: 8\nlora_target_modules: [c_attn]\n",
        "touched": {"lora_alpha": 32},
        "card": "T4",
        "expandable_segments": False,
    }
    page.evaluate(REPLACE, other)
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", "147456", timeout=20_000)
    expect(page.locator(f"{widget(page, 'lora_alpha')} input[type=number]")).to_have_value("32")
    expect(page.locator("#card input")).to_have_value("T4")
    expect(page.locator("#expandable_segments input")).not_to_be_checked()
    expect(page.locator("#memory-tiles")).to_contain_text("T4", timeout=20_000)
    page.get_by_role("tab", name="YAML").click()
    assert yaml_text(page).startswith("# other\n")
    assert "lora_alpha: 32" in yaml_text(page)
    page.wait_for_timeout(500)
    assert len({str(one) for one in told(page)}) == 1
    page.evaluate(REPLACE, before)
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", str(count), timeout=20_000)
    expect(page.locator("#card input")).to_have_value(before["card"])
    assert yaml_text(page).rstrip() == before["text"].rstrip()
