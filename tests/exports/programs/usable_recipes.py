"""Recipes that hypothesis makes and that Axolotl would take: any settings, less those that rules refuse."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from recipe_values import VALUES

from lora_explorer.findings import errors_among
from lora_explorer.settings import SETTINGS, Recipe, find_problems, recipe_from

_TARGETS = st.sampled_from(
    [
        {"lora_target_modules": ["q_proj"]},
        {"lora_target_modules": ["q_proj", "v_proj", "mlp.down_proj"]},
        {"lora_target_modules": ["self_attn.q_proj", "mlp.up_proj"]},
        {"lora_target_modules": ["q_proj", "k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
        {"lora_target_modules": r".*\.(q|k)_proj"},
        {"lora_target_modules": "all-linear"},
        {"lora_target_linear": True},
        {"lora_target_linear": True, "lora_target_modules": ["lm_head"]},
    ]
)
_OURS = ("base_model", "adapter", "load_in_4bit", "load_in_8bit", "lora_target_modules", "lora_target_linear")
_NUMBERS_OF_FILES = ("num_epochs", "warmup_steps")


def _value(name: str) -> st.SearchStrategy[Any]:
    choices = SETTINGS[name].control.choices
    if name in _NUMBERS_OF_FILES:
        return st.integers(1, 50)
    if choices and SETTINGS[name].control.kind == "choice":
        as_yaml = {"true": True, "false": False}
        return st.sampled_from([as_yaml.get(choice, choice) for choice in choices])
    return VALUES[name]


@st.composite
def usable_recipes(draw: st.DrawFn) -> Recipe:
    kind = draw(st.sampled_from([{}, {"load_in_8bit": True}, {"adapter": "qlora", "load_in_4bit": True}]))
    values: dict[str, Any] = {
        "base_model": draw(st.sampled_from(["meta-llama/Llama-3.1-8B", "google/gemma-2-2b"])),
        "adapter": "lora",
        "lora_r": draw(st.integers(1, 256)),
        "lora_alpha": draw(st.integers(1, 256)),
        "learning_rate": draw(st.sampled_from([1e-6, 0.0002, 0.5])),
        **draw(_TARGETS),
        **kind,
    }
    kept = set(values)
    names = draw(st.lists(st.sampled_from(sorted(set(VALUES) - {*_OURS})), unique=True, max_size=10))
    values |= {name: draw(_value(name)) for name in names if name not in values}
    return _without_errors(values, kept)


def _without_errors(values: dict[str, Any], kept: set[str]) -> Recipe:
    recipe = recipe_from(values)
    keys = {finding.setting for finding in errors_among(find_problems(recipe))}
    wrong = {name for name in values if SETTINGS[name].key in keys and name not in kept}
    if not keys:
        return recipe
    if not wrong:
        # The error is at a setting that has to stay; what it does not go with is among the others.
        return recipe_from({name: value for name, value in values.items() if name in kept})
    return _without_errors({name: value for name, value in values.items() if name not in wrong}, kept)
