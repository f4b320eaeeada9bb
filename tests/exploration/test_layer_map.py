"""Edits of the map: the settings that are written give exactly the wanted ranks, or a sentence says why none do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.exploration.layer_map import (
    MapEdit,
    SetAlpha,
    SetRank,
    SwitchOff,
    SwitchOn,
    edit_map,
    word_assignment,
)
from lora_explorer.exploration.layer_map.assignment import Assignment, Strength, assignment_of
from lora_explorer.exploration.layer_map.sites import sites_of
from lora_explorer.exploration.layer_map.wording import typed_length
from lora_explorer.settings import Recipe, errors_among, find_problems

from .models import ARCHITECTURES, GEMMA_3, GPT2, LLAMA, QWEN_3_MOE, recipe_of, skeleton_of

STARTS: dict[str, list[dict[str, Any]]] = {
    "llama": [
        {},
        {"lora_target_linear": None, "lora_target_modules": ["q_proj", "v_proj"], "lora_modules_to_save": ["lm_head"]},
        {"lora_rank_pattern": {"q_proj": 4}, "peft_layers_to_transform": [1, 2, 3], "peft_use_rslora": True},
        {"peft_layer_replication": [[0, 4], [2, 6]]},
        {"lora_target_linear": None, "lora_target_modules": r".*self_attn\.(q|v)_proj|lm_head"},
    ],
    "gpt2": [{"lora_target_linear": None, "lora_target_modules": ["c_attn", "mlp.c_proj"]}],
    "qwen3-moe": [{}, {"lora_target_linear": None, "lora_target_modules": ["q_proj", "gate_proj", "up_proj"]}],
    "mixtral": [{"lora_target_parameters": ["mlp.experts.gate_up_proj"]}],
    "gpt-oss": [{}],
    "deepseek-v3": [{"lora_target_linear": None, "lora_target_modules": ["o_proj", "kv_b_proj"]}],
    "gemma3": [{}, {"lora_target_linear": None, "lora_target_modules": ["q_proj", "fc1"]}],
}
CASES = [(name, start) for name, starts in STARTS.items() for start in starts]


def assignment(recipe: Recipe, architecture: str) -> Assignment:
    return assignment_of(plan_adapter(recipe, skeleton_of(ARCHITECTURES[architecture])))


def edits(architecture: str) -> st.SearchStrategy[MapEdit]:
    site_map = sites_of(recipe_of(), skeleton_of(ARCHITECTURES[architecture]))
    names = sorted({site.kind for site in site_map.in_layers} | {site.slot for site in site_map.in_layers})
    some_names = st.lists(st.sampled_from(names), max_size=3, unique=True).map(tuple)
    some_layers = st.lists(st.integers(0, site_map.num_layers - 1), max_size=4, unique=True).map(tuple)
    return st.one_of(
        st.builds(SwitchOff, some_names, some_layers),
        st.builds(SwitchOn, some_names, some_layers),
        st.builds(SetRank, some_names, some_layers, st.sampled_from([1, 4, 8, 12, 64]), st.booleans()),
        st.builds(SetAlpha, some_names, some_layers, st.sampled_from([1, 8, 16, 64])),
    )


def drawn(edit: MapEdit, before: Assignment, recipe: Recipe, architecture: str) -> Assignment:
    """What an edit means, said once more and without the code under test."""
    after = dict(before)
    site_map = sites_of(recipe, skeleton_of(ARCHITECTURES[architecture]))
    rows = {site.slot for site in site_map.in_layers if site.path in before}
    for site in site_map.in_layers:
        named = any(f".{site.path}".endswith(f".{name}") for name in edit.names) if edit.names else site.slot in rows
        if not named or (edit.layers and site.layer not in edit.layers):
            continue
        if isinstance(edit, SwitchOff):
            after.pop(site.path, None)
        elif isinstance(edit, SwitchOn):
            after.setdefault(site.path, Strength(recipe.lora_r or 0, recipe.lora_alpha or 0))
        elif site.path in before and isinstance(edit, SetAlpha):
            after[site.path] = Strength(before[site.path].r, edit.alpha)
        elif site.path in before:
            r, alpha = before[site.path]
            growth = (edit.rank / r) ** 0.5 if recipe.peft_use_rslora else edit.rank / r
            after[site.path] = Strength(edit.rank, max(round(alpha * growth), 1) if edit.keep_scale else alpha)
    return after


@pytest.mark.parametrize(("architecture", "start"), CASES, ids=lambda value: str(value)[:40])
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_settings_that_are_written_mean_exactly_what_was_drawn(
    architecture: str, start: dict[str, Any], data: st.DataObject
) -> None:
    skeleton, recipe = skeleton_of(ARCHITECTURES[architecture]), recipe_of(**start)
    for edit in data.draw(st.lists(edits(architecture), min_size=1, max_size=4)):
        before = assignment(recipe, architecture)
        wanted = drawn(edit, before, recipe, architecture)
        wording = edit_map(edit, recipe, skeleton)
        if wording.why_not:
            assert not wording.changes
            assert wording.why_not.endswith(".")
            continue
        changed = recipe.changed(**wording.changes)
        assert assignment(changed, architecture) == wanted
        assert not errors_among(find_problems(changed))
        assert bool(wording.changes) is (wanted != before)
        whole = [[m.path for m in plan_adapter(each, skeleton).modules if m.r is None] for each in (recipe, changed)]
        assert whole[0] == whole[1]
        recipe = changed


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_ranks_of_a_plain_model_can_be_said(data: st.DataObject) -> None:
    """Nothing is refused where names are plain: any subset of modules, each with any rank and alpha."""
    skeleton, recipe = skeleton_of(LLAMA), recipe_of()
    paths = [site.path for site in sites_of(recipe, skeleton).in_layers]
    chosen = data.draw(st.lists(st.sampled_from(paths), min_size=1, unique=True))
    strengths = st.builds(Strength, st.sampled_from([4, 8, 16]), st.sampled_from([8, 16]))
    wanted = {path: data.draw(strengths) for path in chosen}
    wording = word_assignment(wanted, recipe, skeleton)
    assert not wording.why_not
    assert assignment(recipe.changed(**wording.changes), "llama") == wanted


def test_peft_itself_reads_the_settings_so() -> None:
    """The whole way, past this program's own reading: PEFT injects the written settings into a whole model."""
    skeleton, recipe = skeleton_of(LLAMA), recipe_of()
    for edit in (
        SwitchOff(("up_proj",), (0, 1)),
        SetRank(("q_proj",), (3, 4, 5), rank=32),
        SwitchOff(("k_proj",), (5,)),
    ):
        recipe = recipe.changed(**edit_map(edit, recipe, skeleton).changes)
    model = inject_adapter(recipe, skeleton.new_model())
    ranks = {
        name.removeprefix("base_model.model."): module.r["default"]
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and module.lora_A
    }
    linear = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj")
    wanted = {f"model.layers.{n}.{slot}": 8 for n in range(6) for slot in (*linear, "mlp.up_proj", "mlp.down_proj")}
    for layer in (0, 1):
        del wanted[f"model.layers.{layer}.mlp.up_proj"]
    del wanted["model.layers.5.self_attn.k_proj"]
    wanted |= {f"model.layers.{layer}.self_attn.q_proj": 32 for layer in (3, 4, 5)}
    assert ranks == wanted


@pytest.mark.parametrize(
    ("start", "edit", "changes"),
    [
        (
            {},
            SwitchOff(("up_proj",)),
            {
                "lora_target_linear": False,
                "lora_target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"),
            },
        ),
        ({}, SwitchOff(layers=(0, 1, 2)), {"peft_layers_to_transform": (3, 4, 5)}),
        ({}, SetRank(("q_proj",), rank=64), {"lora_rank_pattern": {"q_proj": 64}}),
        ({}, SetRank(rank=64), {"lora_r": 64}),
        ({}, SetRank(rank=64, keep_scale=True), {"lora_r": 64, "lora_alpha": 128}),
        (
            {},
            SetRank(("q_proj",), rank=32, keep_scale=True),
            {"lora_rank_pattern": {"q_proj": 32}, "lora_alpha_pattern": {"q_proj": 64}},
        ),
        ({}, SetRank(layers=(3, 4, 5), rank=4), {"lora_rank_pattern": {r"layers\.[3-5]\..*": 4}}),
        (
            {"lora_target_linear": None, "lora_target_modules": ["q_proj", "v_proj"]},
            SwitchOn(("k_proj", "o_proj")),
            {"lora_target_modules": ("q_proj", "k_proj", "v_proj", "o_proj")},
        ),
        (
            {"peft_layers_to_transform": [3, 4, 5]},
            SwitchOn(layers=(0, 1, 2)),
            {"peft_layers_to_transform": None},
        ),
        ({"lora_rank_pattern": {"q_proj": 64}}, SetRank(("q_proj",), rank=8), {"lora_rank_pattern": None}),
    ],
    ids=str,
)
def test_what_is_written_is_what_a_person_would_write(
    start: dict[str, Any], edit: MapEdit, changes: dict[str, Any]
) -> None:
    assert edit_map(edit, recipe_of(**start), skeleton_of(LLAMA)).changes == changes


def test_experts_are_named_as_parameters() -> None:
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=["q_proj"])
    wording = edit_map(SwitchOn(("mlp.experts.gate_up_proj",)), recipe, skeleton_of(QWEN_3_MOE))
    assert wording.changes == {"lora_target_parameters": ("gate_up_proj",)}


def test_a_vision_tower_is_left_alone_where_only_the_language_model_is_edited() -> None:
    skeleton = skeleton_of(GEMMA_3)
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=["q_proj"])
    before = assignment(recipe, "gemma3")
    after = assignment(recipe.changed(**edit_map(SwitchOff(layers=(0,)), recipe, skeleton).changes), "gemma3")
    assert {path for path in before if "vision" in path} == {path for path in after if "vision" in path} != set()
    assert len(before) - len(after) == 1


@pytest.mark.parametrize(
    ("start", "edit", "words"),
    [
        ({}, SwitchOff(), "at least one module must stay"),
        ({}, SwitchOff(layers=(6,)), "There is no layer 6"),
        ({}, SetRank(rank=0), "between 1 and"),
        ({}, SetRank(("q_proj",), rank=99_999), "between 1 and"),
        ({}, SwitchOn(("no_such",)), "no_such to adapt"),
        (
            {"lora_target_linear": None, "lora_target_modules": ["q_proj"]},
            SetRank(("v_proj",), rank=4),
            "no rank to set",
        ),
        (
            {
                "lora_modules_to_save": ["lm_head", "q_proj"],
                "lora_target_linear": None,
                "lora_target_modules": ["v_proj"],
            },
            SwitchOn(("q_proj",)),
            "No settings say exactly this",
        ),
        (
            dict.fromkeys(("adapter", "lora_r", "lora_alpha", "lora_target_linear")),
            SwitchOff(("q_proj",)),
            "choose lora",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_said_is_explained_in_a_sentence(start: dict[str, Any], edit: MapEdit, words: str) -> None:
    wording = edit_map(edit, recipe_of(**start), skeleton_of(LLAMA))
    assert not wording.changes
    assert words in wording.why_not


def test_fused_names_that_peft_takes_for_the_experts_cannot_be_had_alone() -> None:
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=["q_proj"])
    wording = edit_map(SwitchOn(("mlp.gate_proj",), (0,)), recipe, skeleton_of(QWEN_3_MOE))
    assert "No settings say exactly this. PEFT refuses this adapter" in wording.why_not


def test_conv1d_names_that_two_modules_share_are_told_apart() -> None:
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=["c_attn"])
    wording = edit_map(SwitchOn(("mlp.c_proj",)), recipe, skeleton_of(GPT2))
    assert wording.changes == {"lora_target_modules": ("c_attn", "mlp.c_proj")}


def test_length_is_what_is_typed() -> None:
    assert typed_length({"peft_layers_to_transform": tuple(range(16))}) == len("peft_layers_to_transform: 0-15")
    assert typed_length({"lora_target_linear": False, "lora_target_modules": None}) == 0
    listed, regex = {"lora_target_modules": ("q_proj", "v_proj")}, {"lora_target_modules": r".*\.(q|v)_proj"}
    assert typed_length(listed) < typed_length(regex)
