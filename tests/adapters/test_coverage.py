"""What each entry of a target setting matched is said, and what was probably meant where it matched nothing."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.recipes import plan, recipe, small
from lora_explorer.adapters import AdapterPlan, TargetCoverage, find_candidates
from lora_explorer.errors import AdapterRefused, InvalidSettings

ALL_LAYERS = (0, 1, 2, 3)


def rows_of(counted: AdapterPlan, key: str) -> dict[str, TargetCoverage]:
    return {row.entry: row for row in counted.coverage if row.key == key}


def test_every_entry_has_a_row_with_its_layers() -> None:
    rows = rows_of(plan(small("llama"), lora_target_modules=["q_proj", "layers.1.mlp.up_proj"]), "lora_target_modules")
    assert {entry: (row.matched, row.layers) for entry, row in rows.items()} == {
        "q_proj": (4, ALL_LAYERS),
        "layers.1.mlp.up_proj": (1, (1,)),
    }


def test_rows_of_disjoint_entries_add_up_to_the_plan() -> None:
    counted = plan(
        small("llama"),
        lora_target_linear=True,
        lora_modules_to_save=["norm", "lm_head"],
        peft_trainable_token_indices=[1, 2],
    )
    assert sum(row.trainable_params for row in counted.coverage) == counted.trainable_params


def test_an_entry_that_matches_nothing_names_the_nearest_modules() -> None:
    counted = plan(small("llama"), lora_target_modules=["q_porj", "v_proj"])
    missed = rows_of(counted, "lora_target_modules")["q_porj"]
    assert (missed.matched, missed.layers, missed.trainable_params) == (0, (), 0)
    assert missed.nearest[0] == "q_proj"
    assert [finding.message for finding in counted.findings if "q_porj" in finding.message]


def test_an_entry_that_matches_has_no_nearest_names() -> None:
    counted = plan(small("llama"), lora_target_modules=["v_proj"])
    assert rows_of(counted, "lora_target_modules")["v_proj"].nearest == ()


def test_a_regex_is_one_row_with_all_it_matched() -> None:
    pattern = r".*\.[12]\.self_attn\.(q|v)_proj"
    rows = rows_of(plan(small("llama"), lora_target_modules=pattern), "lora_target_modules")
    assert {entry: (row.matched, row.layers) for entry, row in rows.items()} == {pattern: (4, (1, 2))}


def test_all_linear_as_text_is_one_row_with_the_whole_adapter() -> None:
    counted = plan(small("llama"), lora_target_modules="all-linear")
    [row] = counted.coverage
    assert (row.entry, row.matched, row.trainable_params) == ("all-linear", 28, counted.trainable_params)


def test_a_regex_beside_all_linear_modules_matches_nothing_and_is_said_to() -> None:
    counted = plan(small("llama"), lora_target_linear=True, lora_target_modules=".*q_proj")
    assert rows_of(counted, "lora_target_modules")[".*q_proj"].matched == 0
    assert rows_of(counted, "lora_target_linear")["q_proj"].matched == 4


def test_a_union_counts_a_module_under_the_name_written_by_hand() -> None:
    counted = plan(small("llama"), lora_target_linear=True, lora_target_modules=["q_proj", "embed_tokens"])
    assert set(rows_of(counted, "lora_target_modules")) == {"q_proj", "embed_tokens"}
    assert "q_proj" not in rows_of(counted, "lora_target_linear")
    assert {module.via for module in counted.modules if module.kind == "q_proj"} == {"lora_target_modules"}


def test_patterns_have_rows_and_a_missed_one_is_named() -> None:
    counted = plan(
        small("llama"),
        lora_target_modules=["q_proj", "v_proj"],
        lora_rank_pattern={"q_proj": 4, "proj": 2},
        lora_alpha_pattern={r"layers\.0\.self_attn\.v_proj": 4},
    )
    ranks, alphas = rows_of(counted, "lora_rank_pattern"), rows_of(counted, "lora_alpha_pattern")
    assert {entry: row.matched for entry, row in ranks.items()} == {"q_proj": 4, "proj": 0}
    assert [row.layers for row in alphas.values()] == [(0,)]
    assert ranks["q_proj"].trainable_params == counted.params_by_kind["q_proj"]


def test_experts_reached_by_their_old_names_are_in_the_price_of_these_names() -> None:
    """PEFT takes gate_proj and up_proj only together, so the two prices together are what the pair trains."""
    skeleton = small("deepseek-v3")
    prices = {c.name: c.trainable_params for c in find_candidates(recipe(), skeleton)}
    pair = plan(skeleton, lora_target_modules=["gate_proj", "up_proj"])
    assert prices["gate_proj"] + prices["up_proj"] == pair.trainable_params
    assert prices["down_proj"] == plan(skeleton, lora_target_modules=["down_proj"]).trainable_params


@pytest.mark.parametrize("old_name", ["gate_proj", "up_proj"])
def test_old_names_of_fused_experts_are_credited_with_the_fused_parameter(old_name: str) -> None:
    counted = plan(small("qwen3-moe"), lora_target_modules=["gate_proj", "up_proj", "down_proj"])
    row = rows_of(counted, "lora_target_modules")[old_name]
    assert (row.matched, row.layers) == (4, ALL_LAYERS)
    assert row.trainable_params == counted.params_by_kind["gate_up_proj"]


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ({"lora_target_modules": ["c_atn", "wte"]}, "c_atn, wte"),
        ({"lora_target_modules": "self_attn.(q|v)_proj"}, "regex"),
        ({"lora_target_parameters": ["experts.gate_up_proj"]}, "experts.gate_up_proj"),
    ],
    ids=str,
)
def test_a_target_setting_that_reaches_nothing_is_refused_in_one_sentence_at_itself(
    settings: dict[str, Any], written: str
) -> None:
    with pytest.raises(AdapterRefused) as refused:
        plan(small("llama"), **settings)
    [finding] = refused.value.findings
    assert finding.setting == next(iter(settings))
    assert written in finding.message
    assert "\n" not in finding.message


def test_gpt2_is_said_to_have_no_linear_module() -> None:
    with pytest.raises(AdapterRefused, match="finds no linear module") as refused:
        plan(small("gpt2"), lora_target_linear=True)
    assert refused.value.findings[0].setting == "lora_target_linear"


def test_layers_that_hold_no_target_are_refused_at_the_list_of_layers() -> None:
    with pytest.raises(AdapterRefused, match="in the chosen layers") as refused:
        plan(small("llama"), lora_target_modules=["layers.1.mlp.up_proj"], peft_layers_to_transform=[2])
    assert refused.value.findings[0].setting == "peft_layers_to_transform"


@pytest.mark.parametrize("model", ["llama", "gpt2", "qwen3-moe", "gpt-oss", "gemma3"])
@pytest.mark.parametrize("extra", [{}, {"peft_use_dora": True}], ids=str)
def test_the_price_of_a_candidate_is_what_it_trains_alone(model: str, extra: dict[str, Any]) -> None:
    skeleton = small(model)
    candidates = [c for c in find_candidates(recipe(**extra), skeleton) if c.key != "lora_modules_to_save"]
    assert candidates
    for candidate in candidates:
        settings = extra if candidate.key == "lora_target_modules" else {}
        alone = plan(skeleton, **settings, **{candidate.key: [candidate.name]})
        reached = (len(alone.modules), alone.trainable_params)
        assert reached == (candidate.modules, candidate.trainable_params), candidate


@pytest.mark.parametrize("model", ["llama", "gpt2", "gemma3"])
def test_the_price_of_training_a_module_in_full_is_what_it_adds(model: str) -> None:
    skeleton = small(model)
    target = "c_attn" if model == "gpt2" else "q_proj"
    adapter = plan(skeleton, lora_target_modules=[target])
    for candidate in find_candidates(recipe(), skeleton):
        if candidate.key == "lora_modules_to_save":
            saved = plan(skeleton, lora_target_modules=[target], lora_modules_to_save=[candidate.name])
            assert saved.trainable_params - adapter.trainable_params == candidate.trainable_params, candidate


@pytest.mark.parametrize(
    ("settings", "setting", "sentence"),
    [
        (
            {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["self_attn"]},
            "lora_modules_to_save",
            "all that q_proj could match is trained in full",
        ),
        (
            {"lora_target_modules": ["a", "b", "c", "d", "e"]},
            "lora_target_modules",
            "a, b, c, d and 1 more match nothing",
        ),
        ({"lora_target_modules": ["q_proj "]}, "lora_target_modules", "'q_proj ' matches nothing"),
    ],
)
def test_a_refusal_names_what_stands_in_the_way(settings: dict[str, Any], setting: str, sentence: str) -> None:
    with pytest.raises(AdapterRefused, match=sentence) as refusal:
        plan(small("llama"), **settings)
    assert refusal.value.findings[0].setting == setting


def test_rows_of_what_is_no_embedding_are_refused_at_their_setting() -> None:
    with pytest.raises(InvalidSettings, match="norm is neither an embedding nor the head") as refusal:
        plan(small("llama"), lora_target_linear=True, peft_trainable_token_indices={"norm": [1]})
    assert refusal.value.findings[0].setting == "peft_trainable_token_indices"
