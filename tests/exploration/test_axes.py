"""Axes: any setting, and the two choices that take several settings at once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models import Access
from lora_explorer.errors import SweepRefused, UnknownBaseModel
from lora_explorer.exploration.axes import Here, read_axis
from lora_explorer.settings import SETTINGS, errors_among, find_problems

from .models import GPT2, LLAMA, QWEN_3_MOE, model_of, recipe_of, skeleton_of

HERE = Here(recipe_of(), model_of())


def test_a_numeric_setting_is_an_axis_whose_numbers_ascend() -> None:
    axis = read_axis("lora_r=64,4..16 x2", HERE)
    assert [choice.changes["lora_r"] for choice in axis.choices] == [4, 8, 16, 64]
    assert axis.is_numeric
    assert axis.name == "lora_r"


def test_a_setting_with_choices_needs_no_values() -> None:
    assert [choice.changes for choice in read_axis("peft_use_dora", HERE).choices] == [
        {"peft_use_dora": False},
        {"peft_use_dora": True},
    ]
    checkpointing = read_axis("gradient_checkpointing", HERE)
    assert [choice.name for choice in checkpointing.choices] == ["true", "false", "offload", "offload_disk"]
    assert not checkpointing.is_numeric


def test_a_nested_setting_goes_by_its_key_or_its_name() -> None:
    for name in ("peft.loftq_config.loftq_bits", "loftq_bits"):
        (choice,) = read_axis(f"{name}=4", HERE).choices
        assert choice.changes == {"loftq_bits": 4}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_can_be_an_axis_with_its_own_default(name: str) -> None:
    default = SETTINGS[name].default
    if name == "base_model":
        pytest.skip("a base model has to be found")
    typed = yaml.safe_dump([] if default == () else {} if default == {} else default, default_flow_style=True).split(
        "\n"
    )[0]
    (choice,) = read_axis(f"{name}={typed}", HERE).choices
    assert choice.changes == {name: default}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("lora_rnk=8", "lora_r"),
        ("nothing=8", "targets and bits"),
        ("lora_r=0", "at least 1"),
        ("lora_r=many", "whole number"),
        ("lora_r", "needs a range"),
        ("targets=mlpp", "none of"),
        ("bits=2", "none of 4, 8, 16"),
        ("lora_dropout=1", "below 1"),
    ],
)
def test_what_cannot_be_an_axis_gets_one_sentence(text: str, word: str) -> None:
    with pytest.raises(SweepRefused, match=word) as refused:
        read_axis(text, HERE)
    assert len(refused.value.findings) == 1


@pytest.mark.parametrize("config", [LLAMA, GPT2, QWEN_3_MOE], ids=lambda config: config["model_type"])
def test_sets_of_targets_are_made_of_what_the_model_has(config: dict[str, Any]) -> None:
    here = Here(recipe_of(lora_target_linear=None, lora_target_modules=["q_proj"]), model_of(config))
    skeleton = skeleton_of(config)
    axis = read_axis("targets", here)
    reached = [
        frozenset(
            (module.path, module.r) for module in plan_adapter(here.recipe.changed(**choice.changes), skeleton).modules
        )
        for choice in axis.choices
    ]
    assert len(set(reached)) == len(reached) > 2
    attention = next(choice for choice in read_axis("targets=attention", here).choices)
    plan = plan_adapter(here.recipe.changed(**attention.changes), skeleton)
    assert all("attn" in module.path for module in plan.modules)


@pytest.mark.parametrize("start", [{}, {"load_in_8bit": True}, {"adapter": "qlora", "load_in_4bit": True}], ids=str)
def test_every_number_of_bits_comes_with_the_adapter_that_axolotl_pairs_it_with(start: dict[str, Any]) -> None:
    recipe = recipe_of(**start)
    for choice in read_axis("bits", Here(recipe, model_of())).choices:
        assert not errors_among(find_problems(recipe.changed(**choice.changes)))


def test_base_models_can_be_an_axis_and_unknown_ones_are_said() -> None:
    axis = read_axis("base_model=gpt2,openai-community/gpt2-medium", HERE)
    assert [choice.base_model is not None for choice in axis.choices] == [True, True]
    with pytest.raises(UnknownBaseModel):
        read_axis("base_model=/tmp", Here(HERE.recipe, HERE.base_model, Access(hub=False, folders=False)))
