"""What does this change? Each neighbour is a real change, and its figures are those of the changed recipe."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.exploration.effects import count_effects, with_memory
from lora_explorer.exploration.neighbours import MOST_NEIGHBOURS
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import estimate_memory
from lora_explorer.settings import SETTINGS, errors_among, find_problems

from .models import ARCHITECTURES, model_of, recipe_of, skeleton_of

RECIPES: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "QLoRA": {"adapter": "qlora", "load_in_4bit": True, "gradient_checkpointing": True, "lora_dropout": 0.1},
    "8-bit, listed": {"load_in_8bit": True, "lora_target_linear": None, "lora_target_modules": ["q_proj"]},
    "rich": {
        "lora_rank_pattern": {"q_proj": 4},
        "lora_modules_to_save": ["lm_head"],
        "peft_layers_to_transform": [1, 2],
        "plugins": ["axolotl.integrations.liger.LigerPlugin"],
        "liger_fused_linear_cross_entropy": True,
        "max_grad_norm": 1.0,
        "attn_implementation": "eager",
        "fp16": True,
        "bf16": False,
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_neighbour_is_a_change_and_is_counted_as_the_changed_recipe(name: str) -> None:
    question = Question(recipe_of(**RECIPES[name]), model_of())
    for setting in SETTINGS:
        effects = count_effects(setting, question)
        assert len(effects.others) <= MOST_NEIGHBOURS
        assert effects.here.prediction.trainable_params
        for effect in effects.others:
            changed = question.recipe.changed(**effect.changes)
            assert changed != question.recipe, (setting, effect)
            if effect.prediction.problem:
                assert effect.prediction.trainable_params is None
                continue
            plan = plan_adapter(changed, skeleton_of())
            assert effect.prediction.trainable_params == plan.trainable_params
            assert effect.prediction.adapter_file_bytes == plan.adapter_file_bytes
            assert effect.prediction.scaling == (changed.scaling if changed.adapter else None)
            assert not errors_among(find_problems(changed))


def test_twice_the_rank_trains_twice_as_much_at_half_the_scale() -> None:
    effects = count_effects("lora_r", Question(recipe_of(), model_of()))
    here = effects.here.prediction
    half, twice = (effect.prediction for effect in effects.others)
    assert here.trainable_params is not None
    assert here.scaling is not None
    assert [half.trainable_params, twice.trainable_params] == [here.trainable_params // 2, 2 * here.trainable_params]
    assert [half.scaling, twice.scaling] == [2 * here.scaling, here.scaling / 2]


@pytest.mark.parametrize("name", ["load_in_4bit", "load_in_8bit", "gradient_checkpointing", "cut_cross_entropy"])
def test_a_switch_comes_with_what_axolotl_wants_beside_it(name: str) -> None:
    for start in ({}, RECIPES["QLoRA"], {"load_in_8bit": True}, RECIPES["rich"]):
        recipe = recipe_of(**start)
        for effect in count_effects(name, Question(recipe, model_of())).others:
            assert not effect.prediction.problem, (start, effect)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_targets_are_compared_with_the_sets_of_the_model(architecture: str) -> None:
    config = ARCHITECTURES[architecture]
    first = "c_attn" if architecture == "gpt2" else "o_proj"
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=[first])
    effects = count_effects("lora_target_modules", Question(recipe, model_of(config)))
    counts = [effect.prediction.trainable_params for effect in effects.others]
    assert len(counts) >= 2
    assert all(counts)


def test_memory_comes_one_value_after_the_other_and_is_that_of_the_estimate() -> None:
    question = Question(recipe_of(), model_of())
    effects = count_effects("sequence_len", question)
    steps = list(with_memory(effects, question))
    assert len(steps) == 1 + len(effects.others)
    known = [sum(effect.prediction.process_bytes is not None for effect in (s.here, *s.others)) for s in steps]
    assert known == [1, 2, 3]
    for effect in (steps[-1].here, *steps[-1].others):
        estimate = estimate_memory(question.recipe.changed(**effect.changes), model_of(), every_card=False)
        assert effect.prediction.process_bytes == estimate.process_bytes


def test_what_has_no_neighbours_says_nothing() -> None:
    question = Question(recipe_of(), model_of())
    for name in ("base_model", "lora_model_dir", "seed"):
        assert count_effects(name, question).others == ()
