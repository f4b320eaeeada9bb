"""The rows of the map and one matrix of each kind: everything a model has, and what PEFT builds there."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.exploration.layer_map import (
    AdaptedMatrix,
    MapRow,
    SetAlpha,
    SwitchOff,
    SwitchOn,
    edit_map,
    matrices_of,
    rows_of,
)
from lora_explorer.exploration.layer_map.sites import sites_of

from .models import ARCHITECTURES, GPT2, LLAMA, QWEN_3_MOE, recipe_of, skeleton_of

GPT2_TARGETS = {"lora_target_linear": None, "lora_target_modules": ["c_attn", "mlp.c_proj"]}


def drawn(architecture: dict[str, Any], **more: Any) -> tuple[tuple[MapRow, ...], tuple[AdaptedMatrix, ...]]:
    recipe, skeleton = recipe_of(**more), skeleton_of(architecture)
    plan = plan_adapter(recipe, skeleton)
    return rows_of(plan, recipe, skeleton), matrices_of(plan, recipe, skeleton)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_and_matrices_hold_all_that_is_trained_in_layers(name: str) -> None:
    more = GPT2_TARGETS if name == "gpt2" else {}
    recipe, skeleton = recipe_of(**more), skeleton_of(ARCHITECTURES[name])
    plan = plan_adapter(recipe, skeleton)
    in_layers = sum(module.trainable_params for module in plan.modules if module.layer is not None)
    rows, matrices = rows_of(plan, recipe, skeleton), matrices_of(plan, recipe, skeleton)
    assert sum(row.trainable_params for row in rows) == in_layers
    assert sum(matrix.trainable_params * len(matrix.layers) for matrix in matrices) == in_layers
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_name_of_a_row_speaks_of_its_modules_and_no_others(name: str) -> None:
    site_map = sites_of(recipe_of(), skeleton_of(ARCHITECTURES[name]))
    for row, layers in site_map.row_layers.items():
        named = {site.path for site in site_map.in_layers if site.ends_with(row)}
        assert named == {path for path, its_row in site_map.row_names.items() if its_row == row}
        assert {site.layer for site in site_map.in_layers if site.path in named} == set(layers)


def test_what_a_model_has_and_does_not_train_is_offered_in_its_own_place() -> None:
    rows, matrices = drawn(GPT2, **GPT2_TARGETS)
    assert [(row.name, bool(row.cells)) for row in rows] == [
        ("c_attn", True),
        ("attn.c_proj", False),
        ("c_fc", False),
        ("mlp.c_proj", True),
    ]
    assert [matrix.name for matrix in matrices] == ["c_attn", "mlp.c_proj"]


def test_a_kind_that_only_some_layers_have_is_a_row_of_these_layers() -> None:
    rows, _ = drawn(QWEN_3_MOE)
    layers = {row.name: row.layers for row in rows}
    assert layers["mlp.down_proj"] == (0,)
    assert layers["experts.down_proj"] == (1, 2, 3, 4, 5)


def test_what_is_trained_in_full_is_a_row_that_no_edit_speaks_of() -> None:
    rows, _ = drawn(LLAMA, lora_modules_to_save=["input_layernorm"])
    last = rows[-1]
    assert (last.name, last.is_editable) == ("input_layernorm", False)
    assert {cell.r for cell in last.cells.values()} == {None}
    assert all(row.is_editable for row in rows[:-1])


def test_without_an_adapter_all_kinds_are_trained_and_no_matrix_is_adapted() -> None:
    rows, matrices = drawn(LLAMA, adapter=None, lora_r=None, lora_alpha=None, lora_target_linear=None)
    assert matrices == ()
    assert {row.name: len(row.cells) for row in rows}["q_proj"] == LLAMA["num_hidden_layers"]


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        (LLAMA, {"peft_use_dora": True}),
        (LLAMA, {"peft_use_rslora": True, "lora_rank_pattern": {"q_proj": 4, "layers.0.mlp.up_proj": 2}}),
        (GPT2, GPT2_TARGETS),
        (QWEN_3_MOE, {"lora_target_parameters": ["mlp.experts.gate_up_proj"]}),
    ],
)
def test_a_matrix_has_the_shapes_that_peft_gives_it(architecture: dict[str, Any], more: dict[str, Any]) -> None:
    recipe, skeleton = recipe_of(**more), skeleton_of(architecture)
    _, matrices = drawn(architecture, **more)
    site_map = sites_of(recipe, skeleton)
    parameters = {
        name.removeprefix("base_model.model."): parameter
        for name, parameter in inject_adapter(recipe, skeleton.new_model()).named_parameters()
        if ".lora_" in name
    }
    for matrix in matrices:
        inside = f".{matrix.layers[0]}."
        paths = [path for path, row in site_map.row_names.items() if row == matrix.name and inside in path]
        owner = paths[0].rpartition(".")[0] if matrix.experts > 1 else paths[0]
        mine = [parameter for name, parameter in parameters.items() if name.startswith(f"{owner}.")]
        shapes = {tuple(parameter.shape) for parameter in mine}
        assert (matrix.experts * matrix.r, matrix.in_features) in shapes
        assert (matrix.out_features, matrix.experts * matrix.r) in shapes
        if matrix.experts == 1:
            assert matrix.trainable_params == sum(each.numel() for each in mine if each.requires_grad)


def test_a_start_that_trains_a_alone_leaves_b_frozen() -> None:
    _, matrices = drawn(LLAMA, peft_init_lora_weights="mica")
    assert {matrix.frozen for matrix in matrices} == {frozenset("B")}
    assert all(matrix.trainable_params == matrix.r * matrix.in_features for matrix in matrices)


def test_a_kind_with_two_ranks_has_a_matrix_for_each() -> None:
    _, matrices = drawn(LLAMA, lora_rank_pattern={"layers.0.self_attn.q_proj": 64})
    of_kind = [(matrix.r, matrix.layers, matrix.of_layers) for matrix in matrices if matrix.name == "q_proj"]
    assert of_kind == [(8, (1, 2, 3, 4, 5), 6), (64, (0,), 6)]


def test_an_alpha_of_its_own_is_written_as_a_pattern_and_refused_out_of_range() -> None:
    recipe, skeleton = recipe_of(), skeleton_of(LLAMA)
    wording = edit_map(SetAlpha(("q_proj",), alpha=64), recipe, skeleton)
    assert wording.changes == {"lora_alpha_pattern": {"q_proj": 64}}
    assert "between 1 and" in edit_map(SetAlpha(("q_proj",), alpha=0), recipe, skeleton).why_not
    nothing = edit_map(SetAlpha(("nothing",), alpha=8), recipe, skeleton)
    assert nothing.why_not == "No layer chosen here has nothing adapted, so there is no alpha to set."


def test_the_row_of_a_model_can_be_switched_off_and_on_again_by_its_name() -> None:
    recipe, skeleton = recipe_of(**GPT2_TARGETS), skeleton_of(GPT2)
    more = edit_map(SwitchOn(("attn.c_proj",)), recipe, skeleton)
    assert more.changes == {"lora_target_modules": ("c_attn", "c_proj")}
    back = edit_map(SwitchOff(("attn.c_proj",)), recipe.changed(**more.changes), skeleton)
    assert back.changes == {"lora_target_modules": ("c_attn", "mlp.c_proj")}
