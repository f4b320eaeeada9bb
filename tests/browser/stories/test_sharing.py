"""Somebody who sends a comparison to a friend by link; the friend opens it on a phone, and has the very same."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.reading import expect_trainable_params, type_yaml, yaml_text
from browser.stories.visitor import ANSWERED_MS, TRACED_MS, Arrive, Visitor
from lora_explorer import import_axolotl
from lora_explorer.ui.draft import Draft

pytestmark = pytest.mark.browser

CARD = "T4"
SMALL = """\
base_model: HuggingFaceTB/SmolLM2-135M
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_linear: true
sequence_len: 256
"""
OTHER = SMALL.replace("HuggingFaceTB/SmolLM2-135M", "EleutherAI/pythia-410m")
# As counted by hand elsewhere: rank 8 on every linear module of each.
COUNTS = 2_442_240, 3_145_728
CROSS, MARKUP = "the cautious one", "<img src=x onerror=alert(1)>"
PINS = """() => {
  let found;
  document.dispatchEvent(new CustomEvent("pins-wanted", { detail: (it) => { found = it; } }));
  return found;
}"""
SAID = ".link-said:not([hidden])"


def pinned(visitor: Visitor) -> list[tuple[str, object]]:
    """Names, and every setting of each."""
    return [(each["name"], Draft.from_page(each["draft"]).recipe) for each in visitor.page.evaluate(PINS)]


def compared(visitor: Visitor) -> dict[str, list[str | None]]:
    """The exact value of each figure of each column."""
    visitor.open_tab("Compare")
    page = visitor.page
    on_screen = page.locator("tr[data-figure='trainable-params'] td.now")
    expect(on_screen).to_have_attribute("data-value", str(visitor.value("trainable-params")), timeout=ANSWERED_MS)
    expect(page.locator("tr[data-figure='peak-memory']")).not_to_contain_text("…", timeout=TRACED_MS)
    rows = page.locator("tr[data-figure]:not([data-figure='problem'])").all()
    return {
        str(row.get_attribute("data-figure")): [cell.get_attribute("data-value") for cell in row.locator("td").all()]
        for row in rows
    }


def rename(visitor: Visitor, at: int, name: str) -> None:
    names = visitor.page.locator(".pin-name")
    names.nth(at).click()
    visitor.page.locator(f"#pin-menu-{at} input").fill(name)
    visitor.page.keyboard.press("Enter")
    expect(names.nth(at)).to_have_text(name, timeout=ANSWERED_MS)


def test_a_comparison_is_shared_by_link(arrive: Arrive) -> None:
    visitor = arrive(1440, "light")
    page = visitor.page
    count = page.locator("#trainable-params")

    # Two candidates of one model and one of another.
    type_yaml(page, SMALL)
    expect_trainable_params(page, COUNTS[0])
    visitor.pin()
    page.locator("#peft_use_dora input").check()
    expect(count).not_to_have_attribute("data-value", str(COUNTS[0]), timeout=ANSWERED_MS)
    visitor.pin()
    type_yaml(page, OTHER)
    expect_trainable_params(page, COUNTS[1])
    visitor.pin()

    # Named, whatever a name is made of, and put in order.
    visitor.open_tab("Compare")
    expect(page.locator(".pin-name")).to_have_count(3, timeout=ANSWERED_MS)
    rename(visitor, 0, CROSS)
    rename(visitor, 1, MARKUP)
    page.locator(".pin-name").nth(1).click()
    page.locator("#pin-menu-1").get_by_role("button", name="Move left").click()
    expect(page.locator(".pin-name").nth(0)).to_have_text(MARKUP, timeout=ANSWERED_MS)
    page.keyboard.press("Escape")

    # What is on screen is none of them.
    visitor.open_tab("Explore")
    visitor.choose_card(CARD)
    page.locator("#lora_r input[type=range]").fill("24")
    expect_trainable_params(page, 3 * COUNTS[1])
    page.locator("#expandable_segments input").uncheck()
    visitor.weighed()
    figures = compared(visitor)
    assert figures["trainable-params"][0] == str(3 * COUNTS[1])
    visitor.look("shared")
    link = visitor.copy('[data-tool="share"]')
    expect(page.locator(SAID)).to_contain_text("3 pinned configurations", timeout=ANSWERED_MS)
    expect(page).to_have_url(link)

    # On a phone, in the dark: the same comparison and the same configuration, bit for bit.
    friend = arrive(390, "dark", link[link.index("#") :])
    phone = friend.page
    expect(phone.locator(SAID)).to_contain_text("Opened from a link", timeout=ANSWERED_MS)
    friend.look("opened")
    assert pinned(friend) == pinned(visitor)
    friend.weighed()
    for elem_id in ("trainable-params", "all-params", "peak-memory", "fits", "adapter-file"):
        assert friend.value(elem_id) == visitor.value(elem_id)
    assert Draft.from_page(friend.draft).recipe == Draft.from_page(visitor.draft).recipe
    assert (friend.draft["card"], friend.draft["expandable_segments"]) == (CARD, False)
    assert compared(friend) == figures
    assert phone.locator("img[src=x]").count() == 0
    friend.look("compared")
    for each in (friend, visitor):
        each.open_tab("YAML")
    # The link carries no data set; the friend's file has a place for one, and the same settings.
    assert import_axolotl(yaml_text(phone)).recipe == import_axolotl(yaml_text(page)).recipe

    # A link that a chat program has cut is one sentence; what was there stays, over a reload too.
    phone.evaluate("(cut) => { location.hash = cut; }", link[link.index("#") + 1 : -9])
    expect(phone.locator(f"{SAID}[data-bad]")).to_be_visible(timeout=ANSWERED_MS)
    friend.look("cut-off")
    assert pinned(friend) == pinned(visitor)
    friend.reload()
    assert pinned(friend) == pinned(visitor)
    assert friend.value("trainable-params") == 3 * COUNTS[1]

    # What the friend changes is the friend's alone.
    friend.open_tab("Compare")
    phone.locator("[data-pin='1'] .pin-use").click()
    expect_trainable_params(phone, COUNTS[0])
    visitor.reload()
    assert visitor.value("trainable-params") == 3 * COUNTS[1]
    assert compared(visitor) == figures
