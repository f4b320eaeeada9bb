"""New tokens: when Axolotl asks for embedding and head, and what each way of training them costs."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.adapters.injection import inject_adapter
from lora_explorer.adapters.new_tokens import (
    NewTokens,
    advise_on_new_tokens,
    find_token_problems,
    new_tokens_of,
    read_new_tokens,
)
from lora_explorer.base_models import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import InvalidSettings
from lora_explorer.settings import Recipe, recipe_from

LORA = {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "lora_target_modules": ["q_proj"]}
UNTIED, TIED, NEOX, GPT2 = (
    "NousResearch/Meta-Llama-3-8B",
    "HuggingFaceTB/SmolLM2-135M",
    "EleutherAI/pythia-410m",
    "openai-community/gpt2",
)
TWO = NewTokens(tokens=("<a>", "<b>"))


def recipe_of(base_model: str, **values: Any) -> Recipe:
    return recipe_from({**LORA, "base_model": base_model, **values})


def advised(base_model: str, new_tokens: NewTokens = TWO, **values: Any) -> Any:
    return advise_on_new_tokens(recipe_of(base_model, **values), load_skeleton(find_base_model(base_model)), new_tokens)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, NewTokens()),
        ({"tokens": ["<a>", "<a>", "<b>"]}, TWO),
        ({"special_tokens": {"pad_token": "<pad>"}}, NewTokens()),
        ({"special_tokens": {"eos_token": "<e>"}}, NewTokens(special=(("eos_token", "<e>"),))),
        (
            {"special_tokens": {"additional_special_tokens": ["<x>"]}},
            NewTokens(special=(("additional_special_tokens", "<x>"),)),
        ),
        ({"added_tokens_overrides": {128002: "<t>"}}, NewTokens(overridden=(128002,))),
        ({"tokens": "<a>", "special_tokens": ["<b>"], "added_tokens_overrides": [1]}, NewTokens()),
    ],
)
def test_a_file_s_new_tokens_are_read_and_padding_is_none(values: dict[str, Any], expected: NewTokens) -> None:
    assert new_tokens_of(values) == expected


def test_tokens_need_the_pair_of_the_family() -> None:
    for base_model, pair in ((UNTIED, ("embed_tokens", "lm_head")), (NEOX, ("embed_in", "lm_head"))):
        target = {"lora_target_modules": ["q_proj" if base_model == UNTIED else "dense"]}
        advice = advised(base_model, **target)
        assert (advice.need, advice.pair, advice.missing) == ("needed", pair, pair)
        assert advised(base_model, **target, lora_modules_to_save=list(pair)).missing == ()


@pytest.mark.parametrize(
    ("new_tokens", "need"),
    [
        (NewTokens(), "not needed"),
        (NewTokens(special=(("eos_token", "<e>"),)), "may be needed"),
        (NewTokens(special=(("additional_special_tokens", "<e>"),)), "not needed"),
        (NewTokens(overridden=(7,)), "not needed"),
    ],
)
def test_only_what_axolotl_asks_for_is_called_needed(new_tokens: NewTokens, need: str) -> None:
    assert advised(TIED, new_tokens).need == need


@pytest.mark.parametrize("base_model", [UNTIED, TIED])
def test_every_way_costs_what_peft_counts(base_model: str) -> None:
    skeleton = load_skeleton(find_base_model(base_model))
    before = inject_adapter(recipe_of(base_model), skeleton.new_model()).get_nb_trainable_parameters()[0]
    ways = advised(base_model).ways
    assert len(ways) == 3
    for way in ways:
        counted = inject_adapter(way.recipe, skeleton.new_model()).get_nb_trainable_parameters()[0]
        assert way.trainable_params == counted - before > 0


def test_rows_cost_one_hidden_size_a_token_and_matrix() -> None:
    rows = {way.title: way.trainable_params for way in advised(UNTIED).ways}
    assert rows["Train only their rows"] == 2 * 2 * 4096
    assert rows["Train only their rows of the embedding"] == 2 * 4096
    assert {way.trainable_params for way in advised(TIED).ways if "rows" in way.title} == {2 * 576}


def test_rows_can_be_written_only_where_their_ids_are_known() -> None:
    known = advised(UNTIED, NewTokens(overridden=(128002, 128003)))
    by_title = {way.title: dict(way.settings) for way in known.ways}
    rows = by_title["Train only their rows"]["peft_trainable_token_indices"]
    assert rows == {"embed_tokens": (128002, 128003), "lm_head": (128002, 128003)}
    for way in advised(UNTIED).ways:
        assert "rows" not in way.title or (way.settings == () and "added_tokens_overrides" in way.caution)


def test_what_is_set_already_is_not_added_again() -> None:
    plain = {way.title: way.trainable_params for way in advised(UNTIED).ways}
    saved = advised(UNTIED, lora_modules_to_save=["embed_tokens", "lm_head"], peft_ensure_weight_tying=True)
    assert {way.title: way.trainable_params for way in saved.ways} == plain


def test_a_special_token_that_the_tokenizer_may_not_know_is_told() -> None:
    skeleton, new = load_skeleton(find_base_model(UNTIED)), NewTokens(special=(("eos_token", "<end>"),))
    (told,) = find_token_problems(recipe_of(UNTIED), skeleton, new)
    assert (told.setting, told.severity) == ("special_tokens", "note")
    saved = recipe_of(UNTIED, lora_modules_to_save=["embed_tokens", "lm_head"])
    assert find_token_problems(saved, skeleton, new) == ()


def test_a_pair_that_the_model_does_not_have_is_said() -> None:
    advice = advised(GPT2, lora_target_modules=["c_attn"], lora_fan_in_fan_out=True)
    assert "no embed_tokens" in advice.ways[0].caution
    assert "wte" in advice.ways[0].caution


def test_without_an_adapter_there_is_nothing_to_choose() -> None:
    recipe = recipe_from({"base_model": TIED})
    advice = advise_on_new_tokens(recipe, load_skeleton(find_base_model(TIED)), TWO)
    assert (advice.need, advice.ways) == ("not needed", ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NewTokens()),
        (" , ,", NewTokens()),
        ("0", NewTokens()),
        ("2", NewTokens(unnamed=2)),
        ("1,000", NewTokens(unnamed=1000)),
        ("<a>, <b>,<a>", TWO),
        ("<a>, 2", NewTokens(tokens=("<a>", "2"))),
    ],
)
def test_tokens_are_typed_by_name_or_by_number(text: str, expected: NewTokens) -> None:
    assert read_new_tokens(text) == expected


@pytest.mark.parametrize("text", ["-1", "2.5", "1e9", "+3", "10001", "9" * 400, "x" * 100_001, "٣"])
def test_a_number_that_is_none_or_too_large_gets_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSettings, match="tokens"):
        read_new_tokens(text)


def test_a_fix_leads_from_any_way_to_any_other() -> None:
    overridden = NewTokens(overridden=(128002,))
    for start in advised(UNTIED, overridden).ways:
        reached = advise_on_new_tokens(start.recipe, load_skeleton(find_base_model(UNTIED)), overridden)
        assert [way.title for way in reached.ways if way.is_chosen] == [start.title]
        for way in reached.ways:
            after = start.recipe.changed(**dict(way.fix))
            assert (after.lora_modules_to_save, after.peft_trainable_token_indices) == (
                way.recipe.lora_modules_to_save,
                way.recipe.peft_trainable_token_indices,
            )


def test_a_fix_adds_the_tokens_that_the_file_does_not_have() -> None:
    recipe, skeleton = recipe_of(UNTIED), load_skeleton(find_base_model(UNTIED))
    more = advise_on_new_tokens(recipe, skeleton, NewTokens(tokens=("<a>",)), NewTokens(tokens=("<b>",)))
    assert dict(more.ways[0].fix)["tokens"] == ("<a>", "<b>")
    unnamed = advise_on_new_tokens(recipe, skeleton, NewTokens(), NewTokens(unnamed=2))
    assert "tokens" not in dict(unnamed.ways[0].fix)
    assert unnamed.need == "needed"


def test_the_pair_that_tokens_lack_is_an_error_with_its_fix() -> None:
    skeleton = load_skeleton(find_base_model(UNTIED))
    (problem,) = find_token_problems(recipe_of(UNTIED, lora_modules_to_save=["lm_head"]), skeleton, TWO)
    assert (problem.severity, problem.outcome) == ("error", "fails at load")
    assert dict(problem.fix) == {"lora_modules_to_save": ("lm_head", "embed_tokens")}
    assert find_token_problems(recipe_of(UNTIED).changed(**dict(problem.fix)), skeleton, TWO) == ()
    assert find_token_problems(recipe_of(UNTIED), skeleton, NewTokens()) == ()


def test_embedding_and_head_trained_without_a_new_token_are_told_with_what_they_cost() -> None:
    skeleton = load_skeleton(find_base_model(UNTIED))
    recipe = recipe_of(UNTIED, lora_modules_to_save=["embed_tokens", "score", "lm_head"])
    (told,) = find_token_problems(recipe, skeleton, NewTokens())
    assert (told.setting, told.severity) == ("lora_modules_to_save", "warning")
    assert "1,050,673,152" in told.message
    assert dict(told.fix) == {"lora_modules_to_save": ("score",)}
    assert find_token_problems(recipe, skeleton, TWO) == ()


def test_a_pair_that_the_model_does_not_have_cannot_be_mended() -> None:
    recipe = recipe_of(GPT2, lora_target_modules=["c_attn"], lora_fan_in_fan_out=True)
    (problem,) = find_token_problems(recipe, load_skeleton(find_base_model(GPT2)), TWO)
    assert problem.fix == ()
    assert "wte" in problem.why
