"""A recipe is a value: frozen, hashable, equal when it means the same."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from lora_explorer.errors import InvalidSettings
from lora_explorer.settings import SETTINGS, recipe_from

RICH = {
    "adapter": "lora",
    "lora_r": 8,
    "lora_target_modules": ["q_proj", "v_proj"],
    "lora_rank_pattern": {"q_proj": 16},
    "bnb_config_kwargs": {"skip": ["lm_head"], "nested": {"deep": [1, 2]}},
    "peft_trainable_token_indices": {"embed_tokens": [1, 2]},
}


def test_equal_recipes_have_equal_hashes():
    assert recipe_from(RICH) == recipe_from(RICH)
    assert hash(recipe_from(RICH)) == hash(recipe_from(RICH))
    assert len({recipe_from(RICH), recipe_from(RICH), recipe_from(RICH | {"lora_r": 9})}) == 2


def test_the_order_of_patterns_counts_because_the_first_match_wins():
    first = recipe_from({"lora_rank_pattern": {"q_proj": 4, ".*proj": 8}})
    second = recipe_from({"lora_rank_pattern": {".*proj": 8, "q_proj": 4}})
    assert first != second
    assert first == recipe_from({"lora_rank_pattern": {"q_proj": 4, ".*proj": 8}})


def test_null_means_the_same_as_absent():
    assert recipe_from(dict.fromkeys(SETTINGS)) == recipe_from({})
    assert recipe_from({"lora_r": None}).model_fields_set == frozenset()


def test_a_default_that_is_given_changes_nothing():
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    assert recipe_from(defaults) == recipe_from({})


def test_a_recipe_does_not_change():
    recipe = recipe_from(RICH)
    with pytest.raises(ValidationError):
        recipe.lora_r = 4
    with pytest.raises(TypeError):
        recipe.lora_rank_pattern["k_proj"] = 4
    assert recipe.changed(lora_r=4).lora_r == 4
    assert recipe.lora_r == 8


def test_a_change_is_checked():
    with pytest.raises(InvalidSettings):
        recipe_from(RICH).changed(lora_r=0)


def test_a_recipe_survives_a_process_boundary():
    recipe = recipe_from(RICH)
    copy = pickle.loads(pickle.dumps(recipe))
    assert copy == recipe
    assert hash(copy) == hash(recipe)


def test_the_scale_is_alpha_over_the_rank_or_its_root():
    recipe = recipe_from({"lora_r": 64, "lora_alpha": 16})
    assert recipe.scaling == 0.25
    assert recipe.changed(peft_use_rslora=True).scaling == 2.0
    assert recipe.changed(lora_r=None).scaling is None


def test_the_effective_batch_size_is_rows_times_accumulation():
    assert recipe_from({"micro_batch_size": 3, "gradient_accumulation_steps": 4}).effective_batch_size == 12
    assert recipe_from({}).effective_batch_size == 1


@pytest.mark.parametrize(
    ("values", "kernel"),
    [
        ({}, "sdpa"),
        ({"flash_attention": True}, "flash_attention_2"),
        ({"flash_attention": True, "xformers_attention": True}, "xformers"),
        ({"attn_implementation": "eager", "flash_attention": True}, "eager"),
    ],
)
def test_the_old_attention_flags_still_choose_a_kernel(values: dict[str, object], kernel: str):
    assert recipe_from(values).attention == kernel


def test_dependent_settings_show_only_when_they_matter():
    def shown(**values: object) -> set[str]:
        recipe = recipe_from(values)
        return {name for name, setting in SETTINGS.items() if setting.shown_when(recipe)}

    assert "lora_r" not in shown()
    assert {"lora_r", "lora_dropout"} <= shown(adapter="lora")
    assert "nf4_backend" in shown(adapter="qlora", load_in_4bit=True) - shown(adapter="lora")
    assert "peft_layers_pattern" in shown(adapter="lora", peft_layers_to_transform=[1]) - shown(adapter="lora")
    assert "flash_attention" in shown(flash_attention=True) - shown()


@pytest.mark.parametrize(("name", "highest"), [("lora_rank_pattern", 16384), ("lora_alpha_pattern", 1_000_000)])
def test_a_pattern_has_the_bounds_of_the_setting_it_overrules(name: str, highest: int):
    assert recipe_from({name: {"q_proj": highest}})
    with pytest.raises(InvalidSettings, match=f"{name}: item 'q_proj' must be at most {highest:,}"):
        recipe_from({name: {"q_proj": highest + 1}})
