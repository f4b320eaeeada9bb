"""Rules between settings: what Axolotl rejects, or accepts and does otherwise than written."""

from __future__ import annotations

from typing import Any

import pytest
from broken_settings import BROKEN_SETTINGS, FINE, LIGER

from lora_explorer.settings import errors_among, find_problems, recipe_from
from lora_explorer.settings.rules import RULES
from lora_explorer.settings.training import LR_SCHEDULERS, OPTIMIZERS, RARER_LR_SCHEDULERS, RARER_OPTIMIZERS


def test_a_fine_recipe_has_no_problems():
    assert find_problems(recipe_from(FINE)) == ()


@pytest.mark.parametrize(("added", "setting", "severity"), BROKEN_SETTINGS)
def test_a_broken_rule_is_told_at_its_setting(added: dict[str, Any], setting: str, severity: str):
    found = find_problems(recipe_from(FINE | added))
    told = [finding for finding in found if (finding.setting, finding.severity) == (setting, severity)]
    assert len(told) == 1, found
    assert told[0].message.endswith(".")
    assert "{" not in told[0].message


def test_every_rule_is_broken_by_an_example():
    told = {
        (finding.setting, finding.message)
        for added, _, _ in BROKEN_SETTINGS
        for finding in find_problems(recipe_from(FINE | added))
    }
    silent = [rule.message for rule in RULES if "{" not in rule.message and (rule.setting, rule.message) not in told]
    assert silent == []


@pytest.mark.parametrize(
    "added",
    [
        {"adapter": "qlora", "load_in_4bit": True},
        {"load_in_8bit": True},
        {"load_in_8bit": True, "lora_mlp_kernel": False},
        {"lora_target_parameters": ["w"], "peft_init_lora_weights": "gaussian"},
        {"lora_target_modules": ".*q_proj"},
        {"lora_target_linear": True, "lora_target_modules": ["lm_head"]},
        {"attn_implementation": "kernels-community/flash-attn3"},
        {"chunked_cross_entropy": True, "plugins": [LIGER]},
    ],
)
def test_what_axolotl_takes_is_no_error(added: dict[str, Any]):
    assert errors_among(find_problems(recipe_from(FINE | added))) == ()


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ({"adapter": "none"}, {"adapter": None}),
        ({"adapter": "LoRA"}, {"adapter": "lora"}),
        ({"optimizer": "AdamW_torch"}, {"optimizer": "adamw_torch"}),
        ({"optimizer": "whatever"}, {"optimizer": "adamw_torch_fused"}),
        ({"lr_scheduler": "Cosine"}, {"lr_scheduler": "cosine"}),
        ({"adapter": "dora"}, {"adapter": "lora", "peft_use_dora": True}),
        ({"adapter": "dora", "load_in_4bit": True}, {"adapter": "qlora", "peft_use_dora": True}),
        ({"adapter": "rslora"}, {"adapter": "lora", "peft_use_rslora": True}),
        ({"adapter": "mixlora"}, {}),
        ({"peft_init_lora_weights": "PiSSA"}, {"peft_init_lora_weights": "pissa"}),
        ({"peft_init_lora_weights": "true"}, {"peft_init_lora_weights": True}),
        ({"peft_init_lora_weights": "false"}, {"peft_init_lora_weights": None}),
        ({"peft_init_lora_weights": "loftq"}, {"peft.loftq_config.loftq_bits": 4}),
    ],
)
def test_the_fix_of_a_wrong_name_is_what_was_meant(written: dict[str, Any], fix: dict[str, Any]):
    found = errors_among(find_problems(recipe_from(FINE | written)))
    assert dict(found[0].fix) == fix


@pytest.mark.parametrize("start", ["gaussian", "Gaussian", "olora", "mica", "pissa_niter_4", "orthogonal", True])
def test_a_start_that_peft_knows_is_no_error(start: Any):
    assert errors_among(find_problems(recipe_from(FINE | {"peft_init_lora_weights": start}))) == ()


def test_the_names_that_are_known_are_those_of_transformers_and_a_few_of_axolotls():
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    assert {*OPTIMIZERS, *RARER_OPTIMIZERS} >= {name.value for name in OptimizerNames}
    assert {*LR_SCHEDULERS, *RARER_LR_SCHEDULERS} - {"one_cycle", "rex"} == {name.value for name in SchedulerType}


@pytest.mark.parametrize(("listed", "suggestion"), [([".*q"], "lora_target_modules: .*q"), ([".*q", "v_proj"], None)])
def test_a_regex_beside_names_is_not_advised_to_stand_alone(listed: list[str], suggestion: str | None):
    (finding,) = find_problems(recipe_from(FINE | {"lora_target_linear": None, "lora_target_modules": listed}))
    assert (finding.setting, finding.suggestion) == ("lora_target_modules", suggestion)
