"""Every setting is declared once and completely, and its names are the ones Axolotl and PEFT use."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from lora_explorer.exports.axolotl.published_schema import published_schema
from lora_explorer.settings import SETTINGS, Group, Recipe, Setting, recipe_from

PARAMS = [pytest.param(setting, id=name) for name, setting in SETTINGS.items()]
WITH_CHOICES = [pytest.param(setting, id=name) for name, setting in SETTINGS.items() if setting.control.choices]
SLIDERS = [pytest.param(setting, id=name) for name, setting in SETTINGS.items() if setting.control.kind == "slider"]

# Fields of LoraConfig that are no setting, and why.
NO_SETTING = {
    "task_type": "a causal language model is assumed",
    "peft_type": "follows from LoRA",
    "auto_mapping": "written by PEFT",
    "peft_version": "written by PEFT",
    "revision": "of the checkpoint, which is not read",
    "inference_mode": "training is shown",
    "runtime_config": "not saved, about loading",
    "exclude_modules": "cannot be reached from Axolotl's YAML",
    "bias": "Axolotl always says none",
    "megatron_config": "no Axolotl key",
    "megatron_core": "no Axolotl key",
    "eva_config": "no Axolotl key",
    "corda_config": "no Axolotl key",
    "lora_ga_config": "no Axolotl key",
    "velora_config": "no Axolotl key",
    "alora_invocation_tokens": "no Axolotl key",
    "use_qalora": "no Axolotl key",
    "qalora_group_size": "no Axolotl key",
    "monteclora_config": "no Axolotl key",
    "lora_bias": "no Axolotl key",
    "use_bdlora": "no Axolotl key",
    "arrow_config": "no Axolotl key",
    "kasa_config": "no Axolotl key",
}


def test_the_settings_are_the_fields_of_a_recipe():
    assert set(SETTINGS) == set(Recipe.model_fields)


def test_the_settings_are_listed_group_by_group():
    groups = [setting.group for setting in SETTINGS.values()]
    assert list(dict.fromkeys(groups)) == list(Group)
    assert groups == sorted(groups, key=list(Group).index)


def test_every_setting_has_its_own_key_and_label():
    assert len({setting.key for setting in SETTINGS.values()}) == len(SETTINGS)
    assert len({setting.label for setting in SETTINGS.values()}) == len(SETTINGS)


@pytest.mark.parametrize("setting", PARAMS)
def test_a_setting_says_its_effect_in_a_sentence(setting: Setting):
    assert setting.label
    assert setting.help.endswith(".")
    assert 20 <= len(setting.help) <= 140


@pytest.mark.parametrize("setting", PARAMS)
def test_a_setting_has_a_longer_explanation_and_says_where_its_facts_come_from(setting: Setting):
    assert setting.explanation.endswith(".")
    assert setting.explanation != setting.help
    assert setting.explanation.count("`") % 2 == 0
    assert len(setting.explanation) >= 40
    assert setting.source


@pytest.mark.parametrize("setting", WITH_CHOICES)
def test_every_choice_of_a_control_is_a_value_of_its_setting(setting: Setting):
    for choice in setting.control.choices:
        value = [choice] if setting.control.kind == "names" else choice
        recipe_from({setting.name: value})


@pytest.mark.parametrize("setting", SLIDERS)
def test_a_slider_moves_within_the_bounds(setting: Setting):
    for value in (setting.control.minimum, setting.control.maximum):
        recipe_from({setting.name: value})


@pytest.mark.parametrize("setting", PARAMS)
def test_a_setting_is_written_under_a_key_that_axolotl_reads(setting: Setting):
    published = published_schema()
    inner = published.read_with(list(published.plugins))
    for name in setting.path:
        assert name in inner
        inner = {key: each for block in published.blocks_in(inner[name]) for key, each in block["properties"].items()}


def test_every_field_of_lora_config_is_a_setting_or_has_a_reason():
    import peft

    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    arguments = set(inspect.signature(peft.get_peft_model).parameters)
    declared = {setting.in_tools.peft for setting in SETTINGS.values()} - {""}
    assert declared <= fields | arguments
    assert fields - declared == set(NO_SETTING)
