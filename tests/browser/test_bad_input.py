"""Bad input: one sentence at the field at fault, and what was there before stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import expect_trainable_params, open_tab, sentence, trainable_params, type_yaml, yaml_text

pytestmark = pytest.mark.browser

BEFORE = 83_886_080


@pytest.mark.parametrize(
    ("key", "typed", "said"),
    [
        ("lora_r", "0", "at least 1"),
        ("lora_r", "-4", "at least 1"),
        ("lora_r", "1.5", "whole number"),
        ("lora_r", "", "empty"),
        ("lora_r", "1000000000", "at most"),
        ("lora_dropout", "1.0", "below 1"),
        ("lora_dropout", "7", "below 1"),
        ("lora_alpha", "", "empty"),
        ("sequence_len", "0", "at least 1"),
    ],
)
def test_a_bad_number_gets_one_sentence_and_the_numbers_stay(page: Page, key: str, typed: str, said: str) -> None:
    page.locator(f"#{key} input[type=number]").fill(typed)
    shown = page.locator(f"#{key} > .sentence[data-kind=error]")
    expect(shown).to_be_visible()
    expect(shown).to_contain_text(said)
    assert page.input_value(f"#{key} input[type=number]") == typed
    assert trainable_params(page) == BEFORE
    assert page.locator(".sentence[data-kind=error]").count() == 1
    assert page.locator(".toast-body").count() == 0


def test_the_sentence_goes_when_the_number_is_right_again(page: Page) -> None:
    rank = page.locator("#lora_r input[type=number]")
    rank.fill("0")
    expect(page.locator("#lora_r > .sentence")).to_be_visible()
    rank.fill("64")
    expect(page.locator("#lora_r > .sentence")).to_have_count(0)
    expect_trainable_params(page, 2 * BEFORE)


def test_when_typing_ends_in_a_bad_number_count_and_memory_stay_with_the_same_earlier_one(page: Page) -> None:
    peak = page.locator("#peak-memory")
    page.wait_for_selector("#peak-memory[data-value]", timeout=FIRST_COUNT_MS)
    at_start = peak.get_attribute("data-value") or ""
    page.locator("#lora_r input[type=number]").fill("1")
    expect(peak).not_to_have_attribute("data-value", at_start, timeout=20_000)
    at_one = peak.get_attribute("data-value") or ""
    page.locator("#lora_r input[type=number]").fill("32")
    expect(peak).to_have_attribute("data-value", at_start, timeout=20_000)
    page.locator("#lora_r input[type=number]").press("Control+A")
    page.keyboard.type("1e99", delay=30)
    expect(page.locator("#lora_r > .sentence")).to_contain_text("too large")
    expect_trainable_params(page, BEFORE // 32)
    expect(peak).to_have_attribute("data-value", at_one, timeout=20_000)


def test_an_empty_field_says_what_then_holds(page: Page) -> None:
    field = page.locator("#sequence_len input[type=number]")
    field.fill("")
    assert field.get_attribute("placeholder") == "not set: 512"
    assert page.evaluate("(e) => e.scrollWidth <= e.clientWidth", field.element_handle())


def test_a_card_that_does_not_exist_gets_a_sentence_and_the_verdict_stays(page: Page) -> None:
    page.locator("#card input").click()
    page.locator("#card input").fill("RTX 9999")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#card-problem")).to_contain_text("RTX 9999")
    assert page.input_value("#card input") == "RTX 4090"
    page.locator("#card input").click()
    page.get_by_role("option", name="T4", exact=True).click()
    expect(page.locator("#card-problem .sentence")).to_have_count(0)


def test_a_bad_number_survives_leaving_the_field(page: Page) -> None:
    rank = page.locator("#lora_r input[type=number]")
    rank.fill("1000000000")
    rank.blur()
    expect(page.locator("#lora_r > .sentence")).to_be_visible()
    assert rank.input_value() == "1000000000"


@pytest.mark.parametrize(
    ("typed", "said"),
    [("no_such_proj", "no_such_proj"), ("regex: .*(q_proj", "regex")],
)
def test_a_target_that_matches_nothing_says_so(page: Page, typed: str, said: str) -> None:
    page.locator("#lora_target_linear input").uncheck()
    _add_name(page, "lora_target_modules", typed)
    expect(page.locator("#lora_target_modules > .sentence")).to_contain_text(said, timeout=20_000)
    assert trainable_params(page) == BEFORE


def test_a_layer_out_of_range_is_refused_at_the_list_of_layers(page: Page) -> None:
    page.locator("#group-targets .more > button").click()
    _add_name(page, "peft_layers_to_transform", "99")
    expect(page.locator("#peft_layers_to_transform > .sentence")).to_be_visible(timeout=20_000)


def test_a_mapping_counts_when_it_is_filled_and_no_more_when_it_is_deleted(page: Page) -> None:
    page.locator("#group-adapter .more > button").click()
    ranks = page.locator("#lora_rank_pattern").locator("textarea, input").first
    ranks.fill("{q_proj: 64}")
    expect_trainable_params(page, 92_274_688)
    ranks.fill("{k_proj: 64}")
    expect_trainable_params(page, 89_128_960)
    ranks.press("Control+A")
    ranks.press("Delete")
    expect_trainable_params(page, BEFORE)
    ranks.fill("{")
    expect(page.locator("#lora_rank_pattern > .sentence[data-kind=error]")).to_be_visible()
    assert trainable_params(page) == BEFORE


def test_yaml_that_cannot_be_read_stays_while_a_control_moves(page: Page) -> None:
    open_tab(page, "YAML")
    type_yaml(page, "adapter: lora\nlora_r: 3O\n")
    expect(page.locator("#lora_r > .sentence[data-kind=error]")).to_be_visible()
    page.locator("#lora_alpha input[type=number]").fill("64")
    page.wait_for_timeout(800)
    assert "3O" in yaml_text(page)
    assert trainable_params(page) == BEFORE


def test_qlora_without_4_bit_is_refused_at_the_switch(page: Page) -> None:
    page.locator("#adapter input").click()
    page.get_by_role("option", name="qlora").click()
    expect(page.locator("#load_in_4bit > .sentence")).to_contain_text("load_in_4bit: true", timeout=20_000)
    assert trainable_params(page) == BEFORE


def test_an_unknown_base_model_is_refused_with_what_to_do(page: Page) -> None:
    page.locator("#base_model input").fill("nobody/knows-this-model")
    page.keyboard.press("Enter")
    expect(page.locator("#base_model > .sentence")).to_contain_text("config.json", timeout=30_000)
    assert trainable_params(page) == BEFORE


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama", "num_hidden_layers": 1_000_000}, "num_hidden_layers"),
        ({"model_type": "no_such_type"}, "no_such_type"),
        ({"hidden_size": 64}, "model_type"),
        ({"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 99}, "bert"),
    ],
)
def test_a_bad_config_is_refused_at_the_base_model(page: Page, tmp_path: Path, config: object, said: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    page.set_input_files("input[type=file][accept*=json]", file)
    expect(page.locator("#model-config-problem .sentence")).to_contain_text(said, timeout=30_000)
    assert trainable_params(page) == BEFORE


def test_an_uploaded_config_takes_the_place_of_the_base_model(page: Page, tmp_path: Path) -> None:
    from lora_explorer.base_models import find_preset

    preset = find_preset("TinyLlama/TinyLlama-1.1B-Chat-v1.0") or find_preset("TinyLlama/TinyLlama_v1.1")
    assert preset is not None
    file = tmp_path / "config.json"
    file.write_text(preset.config_json, encoding="utf-8")
    page.set_input_files("input[type=file][accept*=json]", file)
    expect(page.locator("#base-params")).to_have_attribute("data-value", str(preset.total_params), timeout=30_000)


def _add_name(page: Page, key: str, typed: str) -> None:
    page.locator(f"#{key} input").click()
    page.locator(f"#{key} input").fill(typed)
    page.keyboard.press("Enter")


def test_nothing_is_said_at_the_start(page: Page) -> None:
    assert sentence(page, "lora_r") == ""
    assert page.locator(".sentence").count() == 0
