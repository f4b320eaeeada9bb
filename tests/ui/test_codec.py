"""What a widget holds and what a setting means are the same thing, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.errors import InvalidSettings
from lora_explorer.findings import Finding
from lora_explorer.settings import SETTINGS, Recipe, recipe_from
from lora_explorer.ui.codec import to_shown, to_value

WRITTEN = {
    "base_model": "meta-llama/Meta-Llama-3-8B",
    "adapter": "qlora",
    "lora_r": 64,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "peft_use_dora": True,
    "lora_model_dir": "./my-adapter",
    "lora_rank_pattern": {"q_proj": 64, r"layers\.0\..*": 8},
    "peft_init_lora_weights": "gaussian",
    "loftq_bits": 4,
    "lora_target_modules": ["q_proj", "self_attn.v_proj"],
    "peft_layers_to_transform": [0, 1, 2, 3, 7, 9, 10],
    "peft_layer_replication": [[0, 16], [8, 32]],
    "peft_trainable_token_indices": {"embed_tokens": [1, 2], "lm_head": [1, 2]},
    "bf16": "auto",
    "gradient_checkpointing": "offload",
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "bnb_config_kwargs": {"bnb_4bit_use_double_quant": False},
    "plugins": ["axolotl.integrations.liger.LigerPlugin"],
    "lora_mlp_kernel": False,
    "learning_rate": 0.0002,
}


def through_the_widget(name: str, value: object) -> object:
    setting = SETTINGS[name]
    # A widget's content goes to the page and comes back as JSON.
    shown = json.loads(json.dumps(to_shown(setting, value)))
    return to_value(setting, shown)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_value_is_the_same_after_its_widget_showed_it(name: str) -> None:
    recipe = recipe_from({name: WRITTEN[name]})
    back = recipe_from({name: through_the_widget(name, getattr(recipe, name))})
    assert getattr(back, name) == getattr(recipe, name)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_is_the_same_after_its_widget_showed_it(name: str) -> None:
    default = getattr(Recipe(), name)
    back = recipe_from({name: through_the_widget(name, default)})
    assert getattr(back, name) == default


@pytest.mark.parametrize("text", ["all-linear", r".*self_attn\.(q|v)_proj", "a, b", "q_proj"])
def test_a_single_string_as_target_stays_a_single_string(text: str) -> None:
    assert through_the_widget("lora_target_modules", text) == text


def test_a_list_of_one_name_stays_a_list() -> None:
    assert through_the_widget("lora_target_modules", ("q_proj",)) == ("q_proj",)


def test_names_typed_with_commas_are_several_names() -> None:
    assert to_value(SETTINGS["lora_target_modules"], ["q_proj, k_proj", "v_proj"]) == ("q_proj", "k_proj", "v_proj")


def test_a_regex_beside_names_is_refused_at_its_setting() -> None:
    with pytest.raises(InvalidSettings) as refused:
        to_value(SETTINGS["lora_target_modules"], ["regex: .*q_proj", "k_proj"])
    assert [finding.setting for finding in refused.value.findings] == ["lora_target_modules"]


@given(st.sets(st.integers(min_value=0, max_value=200), max_size=40))
def test_layers_are_the_same_after_they_were_written_as_spans(layers: set[int]) -> None:
    ordered = tuple(sorted(layers))
    assert (through_the_widget("peft_layers_to_transform", ordered) or ()) == ordered


def test_a_span_of_a_billion_layers_is_not_written_out() -> None:
    assert to_value(SETTINGS["peft_layers_to_transform"], ["0-999999999"]) == ("0-999999999",)


@pytest.mark.parametrize("text", ["{q_proj: 64", "[1, 2", "a: b: c", "!!python/object:os.system {}"])
def test_text_that_is_no_yaml_gets_one_sentence_at_its_setting(text: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        to_value(SETTINGS["lora_rank_pattern"], text)
    assert [finding.setting for finding in refused.value.findings] == ["lora_rank_pattern"]


def test_aliases_are_refused_before_they_are_expanded() -> None:
    bomb = "{a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}"
    with pytest.raises(InvalidSettings, match="alias"):
        to_value(SETTINGS["bnb_config_kwargs"], bomb)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("sent", [None, "", 0, -4, 1.5, "x", True, [], ["x"], {"x": 1}, [[1]], 10**40], ids=repr)
def test_whatever_a_stranger_sends_is_a_value_or_a_sentence(name: str, sent: object) -> None:
    assert {finding.setting for finding in findings_about(name, sent)} <= {SETTINGS[name].key}


def findings_about(name: str, sent: Any) -> tuple[Finding, ...]:
    try:
        recipe_from({name: to_value(SETTINGS[name], sent)})
    except InvalidSettings as refused:
        return refused.findings
    return ()
