"""Ready sweeps and proposed ranges: each can be run as it is, with what is set now among its values."""

from __future__ import annotations

import pytest

from lora_explorer.exploration.axes import BITS, TARGETS, Here, axis_of
from lora_explorer.exploration.prediction import Question, predict
from lora_explorer.exploration.ranges import values_in
from lora_explorer.exploration.ready_sweeps import MOVES_NOTHING, READY, explorable_settings, proposed_range
from lora_explorer.exploration.sweep import plan_sweep
from lora_explorer.settings import SETTINGS, Recipe, recipe_from

from .models import LLAMA, model_of, recipe_of

MODEL = model_of({**LLAMA, "vocab_size": 4100})
EXPLORABLE = [setting for _, settings in explorable_settings() for setting in settings]


@pytest.mark.parametrize("ready", READY, ids=lambda ready: ready.name)
def test_a_ready_sweep_can_be_planned_from_a_plain_recipe(ready: object) -> None:
    assert isinstance(ready, type(READY[0]))
    recipe = recipe_of()
    typed = [f"{name}={proposed}" if (proposed := proposed_range(name, recipe)) else name for name in ready.axes]
    sweep = plan_sweep(recipe, MODEL, typed)
    assert [axis.name for axis in sweep.axes] == list(ready.axes)
    assert 4 <= sweep.size <= 60


@pytest.mark.parametrize("setting", EXPLORABLE, ids=lambda setting: setting.key)
def test_every_setting_that_is_offered_has_a_range_that_makes_an_axis(setting: object) -> None:
    assert isinstance(setting, type(EXPLORABLE[0]))
    typed = proposed_range(setting.key, Recipe())
    assert typed
    assert len(axis_of(setting.key, typed, Here(Recipe(), MODEL)).choices) >= 2


@pytest.mark.parametrize(
    ("name", "value"), [("lora_r", 24), ("sequence_len", 3000), ("lora_dropout", 0.07), ("optimizer", "adafactor")]
)
def test_a_proposed_range_holds_what_is_set_now_once(name: str, value: object) -> None:
    recipe = recipe_from({name: value})
    values = values_in(proposed_range(name, recipe), name)
    assert values.count(value) == 1
    own = recipe.changed(**{name: values[0]})
    assert proposed_range(name, own).count(",") == proposed_range(name, Recipe()).count(",")


def test_what_is_not_a_setting_has_its_own_choices_or_a_range_of_its_own() -> None:
    assert proposed_range(TARGETS, Recipe()) == ""
    assert values_in(proposed_range(BITS, Recipe()), BITS) == (4, 8, 16)
    assert proposed_range("nothing", Recipe()) == ""
    assert proposed_range("lora_rank_pattern", Recipe()) == ""


@pytest.mark.parametrize("name", sorted(MOVES_NOTHING - {"peft_use_rslora", "nvfp4_merge_aware", "lr_scheduler"}))
def test_what_is_not_offered_moves_neither_count_nor_memory_nor_speed(name: str) -> None:
    recipe = recipe_of()
    before, values = predict(Question(recipe, MODEL)), {"warmup_ratio": 0.2, "weight_decay": 0.1}
    value = values.get(name, 3)
    after = predict(Question(recipe.changed(**{name: value}), MODEL))
    assert getattr(recipe.changed(**{name: value}), name) == value != getattr(recipe, name)
    for figure in ("trainable_params", "process_bytes", "pace", "problem"):
        assert getattr(after, figure) == getattr(before, figure)


def test_settings_that_bits_and_targets_set_are_not_offered_beside_them() -> None:
    offered = {setting.name for setting in EXPLORABLE}
    assert not offered & {"load_in_4bit", "load_in_8bit", "adapter", "lora_target_linear"}
    assert {"lora_r", "sequence_len", "micro_batch_size", "gradient_checkpointing", "optimizer"} <= offered
    assert offered <= set(SETTINGS)
