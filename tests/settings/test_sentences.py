"""Bad values are refused with exactly one clear sentence, at the setting at fault."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.errors import InvalidSettings
from lora_explorer.settings import recipe_from

BAD = [
    ("lora_r", 0, "lora_r must be at least 1, got 0."),
    ("lora_r", -4, "lora_r must be at least 1, got -4."),
    ("lora_r", 1.5, "lora_r must be a whole number, got 1.5."),
    ("lora_r", "", "lora_r must be a whole number, got ''."),
    ("lora_r", 10**9, "lora_r must be at most 16,384, got 1000000000."),
    ("lora_r", True, "lora_r must be a number, not true or false, got true."),
    ("lora_r", float("inf"), "lora_r must be a finite number, got inf."),
    ("lora_dropout", 1.0, "lora_dropout must be below 1, got 1.0."),
    ("lora_dropout", 7, "lora_dropout must be below 1, got 7."),
    ("lora_dropout", float("nan"), "lora_dropout must be a finite number, got nan."),
    ("lora_alpha", "sixteen", "lora_alpha must be a whole number, got 'sixteen'."),
    ("lora_target_linear", "maybe", "lora_target_linear must be true or false, got 'maybe'."),
    ("lora_target_modules", 7, "lora_target_modules must be text or a list, got 7."),
    ("lora_target_modules", [1, 2], "lora_target_modules: item 0 must be text, got 1."),
    ("lora_modules_to_save", "lm_head", "lora_modules_to_save must be a list, got 'lm_head'."),
    ("peft_layers_to_transform", 3, "peft_layers_to_transform must be a list, got 3."),
    ("peft_layers_to_transform", [0, -1], "peft_layers_to_transform: item 1 must be at least 0, got -1."),
    ("lora_rank_pattern", {"q_proj": 0}, "lora_rank_pattern: item 'q_proj' must be above 0, got 0."),
    ("lora_rank_pattern", [1], "lora_rank_pattern must be a mapping of names to values, got [1]."),
    ("peft_layer_replication", [[0, 1, 2]], "peft_layer_replication: item 0 must have 2 parts, got [0, 1, 2]."),
    ("peft_layer_replication", [[0]], "peft_layer_replication: item 0 must have 2 parts, got [0]."),
    (
        "peft_trainable_token_indices",
        {"embed_tokens": [-3]},
        "peft_trainable_token_indices: item 'embed_tokens' must be at least 0, got -3.",
    ),
    ("bf16", "half", "bf16 must be true or false or 'auto', got 'half'."),
    ("loftq_bits", 9, "peft.loftq_config.loftq_bits must be at most 8, got 9."),
    ("no_such_setting", 1, "no_such_setting is not a setting, got 1."),
]


@pytest.mark.parametrize(("name", "value", "sentence"), BAD)
def test_a_bad_value_gets_one_sentence(name: str, value: Any, sentence: str):
    with pytest.raises(InvalidSettings) as caught:
        recipe_from({name: value})
    (finding,) = caught.value.findings
    assert finding.message == sentence
    assert finding.severity == "error"


def test_each_setting_at_fault_gets_its_own_sentence():
    with pytest.raises(InvalidSettings) as caught:
        recipe_from({"lora_r": 0, "lora_dropout": 7, "lora_alpha": 16})
    assert {finding.setting for finding in caught.value.findings} == {"lora_r", "lora_dropout"}


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(InvalidSettings) as caught:
        recipe_from({"lora_r": "9" * 5000})
    assert len(str(caught.value)) < 200
