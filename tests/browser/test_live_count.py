"""The main job: move a slider, read the number."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser.reading import expect_trainable_params, trainable_params

pytestmark = pytest.mark.browser

AT_RANK_32 = 83_886_080


def test_the_page_starts_with_the_count_of_llama_3_8b_at_rank_32(page: Page) -> None:
    assert trainable_params(page) == AT_RANK_32
    assert page.inner_text("#trainable-params") == "83,886,080"
    assert page.get_attribute("#all-params", "data-value") == str(8_030_261_248 + AT_RANK_32)


def test_twice_the_rank_on_the_slider_shows_twice_the_parameters(page: Page) -> None:
    page.locator("#lora_r input[type=range]").fill("64")
    expect_trainable_params(page, 2 * AT_RANK_32)


def test_a_typed_rank_beyond_the_slider_counts(page: Page) -> None:
    page.locator("#lora_r input[type=number]").fill("1024")
    expect_trainable_params(page, 32 * AT_RANK_32)


def test_the_slider_moves_by_keyboard_alone(page: Page) -> None:
    page.locator("#lora_r input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect_trainable_params(page, AT_RANK_32 // 32 * 33)
    assert page.input_value("#lora_r input[type=number]") == "33"


def test_a_drag_ends_at_the_last_value_of_the_slider(page: Page) -> None:
    page.evaluate(
        """() => {
          const range = document.querySelector("#lora_r input[type=range]");
          for (let rank = 33; rank <= 96; rank++) setTimeout(() => {
            range.value = rank;
            range.dispatchEvent(new Event("input", { bubbles: true }));
          }, (rank - 33) * 8);
        }"""
    )
    expect_trainable_params(page, 3 * AT_RANK_32)


def test_the_number_is_never_blank_while_it_changes(page: Page) -> None:
    page.evaluate(
        """() => {
          window.seen = new Set();
          const look = () => {
            window.seen.add(document.querySelector("#trainable-params")?.textContent ?? "gone");
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    for rank in ("40", "48", "56"):
        page.locator("#lora_r input[type=range]").fill(rank)
        expect_trainable_params(page, AT_RANK_32 // 32 * int(rank))
    seen = page.evaluate("[...window.seen]")
    assert {text.replace(",", "").isdecimal() for text in seen} == {True}


def test_memory_follows_the_slider_and_its_parts_add_up_to_the_peak(page: Page) -> None:
    peak = page.locator("#peak-memory[data-value]")
    expect(peak).to_be_visible(timeout=30_000)
    before = peak.get_attribute("data-value") or ""
    page.locator("#lora_r input[type=range]").fill("256")
    expect(peak).not_to_have_attribute("data-value", before, timeout=20_000)
    parts = page.locator(".memory-legend b").all_inner_texts()
    whole_gib = int(peak.get_attribute("data-value") or 0) / 1024**3
    assert sum(float(part.replace(",", "")) for part in parts) == pytest.approx(whole_gib, abs=0.005 * len(parts))


def test_another_card_changes_only_whether_it_fits(page: Page) -> None:
    expect(page.locator("#fits[data-value]")).to_be_visible(timeout=30_000)
    for card, fits in (("T4", "0"), ("H100 80GB SXM", "1")):
        page.locator("#card input").click()
        page.get_by_role("option", name=card, exact=True).click()
        expect(page.locator("#fits")).to_have_attribute("data-value", fits, timeout=20_000)
    assert trainable_params(page) == AT_RANK_32


def test_scale_and_effective_batch_follow_their_settings(page: Page) -> None:
    scale, batch = page.locator("#effective-scale"), page.locator("#effective-batch")
    expect(scale).to_have_attribute("data-value", "0.5")
    expect(batch).to_have_attribute("data-value", "8")
    page.locator("#lora_alpha input[type=number]").fill("64")
    expect(scale).to_have_attribute("data-value", "2")
    page.locator("#micro_batch_size input[type=number]").fill("3")
    expect(batch).to_have_attribute("data-value", "12")


def test_another_base_model_is_chosen_by_its_label(page: Page) -> None:
    page.locator("#base_model input").click()
    page.locator("#base_model input").fill("TinyLlama")
    page.get_by_role("option", name="TinyLlama").first.click()
    expect(page.locator("#all-params")).not_to_have_attribute(
        "data-value", str(8_030_261_248 + AT_RANK_32), timeout=20_000
    )
    expect(page.locator("#base-params")).to_have_attribute("data-value", "1100048384", timeout=20_000)


def test_a_target_picked_from_the_list_shows_its_cost_and_is_counted(page: Page) -> None:
    page.locator("#lora_target_linear input").uncheck()
    page.locator("#lora_target_modules input").click()
    page.get_by_role("option", name="q_proj · 8,388,608").click()
    expect_trainable_params(page, 8_388_608)


def test_settings_that_do_not_matter_are_hidden_until_they_do(page: Page) -> None:
    page.locator("#group-base-model .more > button").click()
    expect(page.locator("#nf4_backend")).to_be_hidden()
    page.locator("#load_in_4bit input").check()
    page.locator("#adapter input").click()
    page.get_by_role("option", name="qlora").click()
    expect(page.locator("#nf4_backend")).to_be_visible(timeout=20_000)
