"""Regexes that cannot serve: broken ones, and those that would keep the matcher busy for hours."""

from __future__ import annotations

import pytest

from lora_explorer.settings import find_problems, recipe_from
from lora_explorer.settings.rules.regex import find_regex_problem

ENDLESS = [
    "(.*)*(.*)*(.*)*x",
    "(([a-z_]+)+.)*Z",
    "(.|.)*x",
    "(.?){40}x",
    ".*.*.*.*.*.*.*.*x",
    "(?=model)(.*)*x",
    "(a|.)" * 40 + "x",
    "((((.{0,9}){0,9}){0,9}){0,9})x",
]
IN_USE = [
    "q_proj",
    r".*self_attn\.(q|v)_proj",
    r"model.language_model.layers.[\d]+.(mlp|cross_attn|self_attn).(up|down|gate|q|k|v|o)_proj",
    r"^(?!.*visual)(?!.*lm_head).*layers\.(\d|1[0-9])\..*(?:q|k|v|o|gate|up|down)_proj",
    r"layers\.[0-9]+\.mlp\.experts\.[0-9]+\.(w1|w2|w3)",
    "(" + "|".join(f"model.layers.{layer}.self_attn.q_proj" for layer in range(80)) + ")",
]


@pytest.mark.parametrize("text", ENDLESS)
def test_a_regex_that_could_take_hours_is_refused_without_trying_it(text: str):
    problem = find_regex_problem(text)
    assert problem is not None
    assert "could take hours" in problem.sentence
    assert not problem.is_invalid


@pytest.mark.parametrize("text", IN_USE)
def test_regexes_as_people_write_them_pass(text: str):
    assert find_regex_problem(text) is None


@pytest.mark.parametrize("text", ["(", "[a", "*", "(?P<a", "x{2,1}"])
def test_a_broken_regex_says_what_is_wrong(text: str):
    problem = find_regex_problem(text)
    assert problem is not None
    assert problem.sentence.startswith("is not a valid regex: ")
    assert problem.is_invalid


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lora_target_modules", "(.*)*x"),
        ("lora_rank_pattern", {"(.*)*x": 4}),
        ("lora_alpha_pattern", {"(.*)*x": 4}),
        ("peft_layers_pattern", ["(("]),
        ("peft_layers_pattern", ["(.*)*x"]),
    ],
)
def test_every_setting_that_holds_a_regex_is_looked_at(setting: str, value: object):
    findings = find_problems(recipe_from({setting: value}))
    assert any(each.setting == setting and ("hours" in each.message or "valid" in each.message) for each in findings)
