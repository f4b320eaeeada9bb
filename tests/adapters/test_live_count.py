"""The live count is PEFT's count: on awkward adapters, for every setting that moves it, and from many threads."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from adapters.architectures import planned_by_module, trained_by_module
from adapters.recipes import plan, preset, recipe, small
from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.adapters.config import base_dtype
from lora_explorer.base_models.skeleton import Skeleton, build_on_meta
from lora_explorer.errors import AdapterRefused, InvalidSettings

LINEAR = {"lora_target_linear": True}
PAIR = {"lora_target_modules": ["q_proj", "v_proj"]}
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BOTH_ENDS = ["embed_tokens", "lm_head"]

AWKWARD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {**LINEAR, "peft_layer_replication": [[0, 3], [1, 4]]}),
    ("llama", {**LINEAR, "peft_layer_replication": [[0, 2], [0, 2]], "lora_rank_pattern": {"q_proj": 3}}),
    ("llama", {**PAIR, "peft_trainable_token_indices": [3, 5]}),
    ("llama", {**PAIR, "peft_trainable_token_indices": {"embed_tokens": [3, 5], "lm_head": [3]}}),
    ("llama-tied", {**PAIR, "peft_trainable_token_indices": [3, 5]}),
    ("llama-tied", {**PAIR, "peft_trainable_token_indices": {"embed_tokens": [3], "lm_head": [3]}}),
    ("llama-tied", {**PAIR, "peft_trainable_token_indices": {"embed_tokens": [3], "lm_head": [3, 4]}}),
    ("llama-tied", {**PAIR, "peft_trainable_token_indices": [3], "peft_ensure_weight_tying": True}),
    ("llama", {**PAIR, "lora_modules_to_save": BOTH_ENDS}),
    ("llama-tied", {**PAIR, "lora_modules_to_save": BOTH_ENDS}),
    ("llama-tied", {**PAIR, "lora_modules_to_save": ["embed_tokens"]}),
    ("llama-tied", {**PAIR, "lora_modules_to_save": BOTH_ENDS, "peft_ensure_weight_tying": True}),
    ("llama-tied", {**PAIR, "lora_modules_to_save": ["lm_head"], "peft_ensure_weight_tying": True}),
    ("llama-tied", {"lora_target_modules": ["embed_tokens", "q_proj"], "peft_ensure_weight_tying": True}),
    ("llama-tied", {"lora_target_modules": [*BOTH_ENDS, "q_proj"], "peft_ensure_weight_tying": True}),
    ("llama-tied", {"lora_target_modules": [*BOTH_ENDS, "q_proj"], "peft_use_dora": True}),
    ("llama", {**PAIR, "lora_modules_to_save": ["norm"]}),
    ("llama", {**PAIR, "lora_modules_to_save": ["self_attn"]}),
    ("llama", {**PAIR, "lora_modules_to_save": ["q_proj"]}),
    ("llama", {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["q_proj"]}),
    ("llama", {"lora_target_modules": ["self_attn"]}),
    ("llama", {**LINEAR, "lora_rank_pattern": {"q_proj": 3, r"layers\.1\.mlp\..*": 2}, "peft_use_dora": True}),
    ("llama", {**PAIR, "lora_alpha_pattern": {"q_proj": 3}, "peft_use_rslora": True}),
    ("llama", {**PAIR, "peft_layers_to_transform": [1, 3], "peft_layers_pattern": ["layers"]}),
    ("llama", {**PAIR, "peft_layers_to_transform": [1], "peft_layers_pattern": ["blocks"]}),
    ("llama", {**PAIR, "lora_target_parameters": ["q_proj.weight"]}),
    ("llama", {**PAIR, "lora_target_parameters": ["up_proj.weight"]}),
    ("gpt2", {"lora_target_modules": ["c_attn", "c_proj"], "peft_use_dora": True}),
    ("gpt2", {"lora_target_modules": ["c_attn", "wte", "wpe"], "lora_modules_to_save": ["lm_head"]}),
    ("gpt2", {"lora_target_modules": ["c_attn"], "peft_trainable_token_indices": [1]}),
    ("qwen3-moe", {"lora_target_modules": SEVEN, "lora_dropout": 0.1}),
    ("qwen3-moe", {"lora_target_modules": SEVEN, "lora_rank_pattern": {"q_proj": 3}}),
    ("qwen3-moe", {"lora_target_modules": "all-linear", "lora_dropout": 0.1}),
    ("qwen3-moe", {"lora_target_modules": ["gate_proj", "down_proj"]}),
    ("qwen3-moe", {**PAIR, "lora_target_parameters": EXPERTS, "peft_layers_to_transform": [0]}),
    ("qwen3-moe", {**PAIR, "lora_target_parameters": EXPERTS[:1], "lora_rank_pattern": {"gate_up_proj": 2}}),
    ("mixtral", {"lora_target_modules": ["q_proj", "w1", "w2", "w3"], "lora_dropout": 0.1}),
    ("mixtral", {"lora_target_modules": ["q_proj", "gate"]}),
    ("mixtral", {**PAIR, "lora_target_parameters": [*EXPERTS, "mlp.gate.weight"]}),
    ("gpt-oss", LINEAR),
    ("gpt-oss", {**PAIR, "lora_target_parameters": EXPERTS}),
    ("gpt-oss", {"lora_target_modules": "all-linear"}),
    ("gpt-oss", {"lora_target_modules": ["q_proj", "router"]}),
    ("deepseek-v3", LINEAR),
    ("deepseek-v3", {**LINEAR, "lora_dropout": 0.1, "lora_rank_pattern": {"down_proj": 3}}),
    ("deepseek-v3", {"lora_target_modules": ["gate_proj", "up_proj"], "peft_layers_to_transform": [2]}),
    (
        "deepseek-v3",
        {"lora_target_modules": ["q_a_proj", "kv_a_proj_with_mqa"], "lora_modules_to_save": ["norm"]},
    ),
    ("gemma3", LINEAR),
    ("gemma3", {**PAIR, "lora_modules_to_save": ["multi_modal_projector"]}),
    ("gemma3", {"lora_target_modules": r"model\.language_model.*_proj", "lora_modules_to_save": BOTH_ENDS}),
    ("gemma3", {**PAIR, "peft_trainable_token_indices": [1], "peft_ensure_weight_tying": True}),
)
# PEFT wraps one copy in another here; what it saves of them has no rule.
SAVED_TWICE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {**PAIR, "lora_modules_to_save": ["embed_tokens"], "peft_trainable_token_indices": [1]}),
    ("llama", {**LINEAR, "lora_modules_to_save": ["mlp", "up_proj"]}),
)
# MiCA freezes B. It decomposes weights, which a model in memory that holds anything does not have.
FROZEN_IN_PART: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {**LINEAR, "peft_init_lora_weights": "mica"}),
    ("llama", {**PAIR, "lora_modules_to_save": BOTH_ENDS, "peft_init_lora_weights": "MiCA"}),
)
REFUSED_BY_PEFT: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("llama", {**PAIR, "lora_target_parameters": ["q_proj.weight"]}, "not a valid target"),
    ("llama", {"lora_target_modules": ["self_attn"]}, "no layer for a LlamaAttention module"),
    ("qwen3-moe", {"lora_target_modules": ["gate_proj", "down_proj"]}, "fused into gate_up_proj"),
    (
        "llama",
        {**PAIR, "lora_modules_to_save": ["lm_head"], "peft_trainable_token_indices": {"lm_head": [1]}},
        "not both",
    ),
)


def full_injection(settings: dict[str, Any], skeleton: Skeleton) -> PeftModel:
    return inject_adapter(recipe(**settings), skeleton.new_model())


@pytest.mark.parametrize(("model", "settings"), [*AWKWARD, *SAVED_TWICE, *FROZEN_IN_PART], ids=str)
def test_a_plan_counts_what_a_full_injection_counts(model: str, settings: dict[str, Any]) -> None:
    skeleton = small(model)
    try:
        injected = full_injection(settings, skeleton)
    except (ValueError, AttributeError, RuntimeError, TypeError):
        with pytest.raises(AdapterRefused):
            plan(skeleton, **settings)
        return
    counted = plan(skeleton, **settings)
    assert (counted.trainable_params, counted.all_params) == injected.get_nb_trainable_parameters()
    if (model, settings) not in SAVED_TWICE and "peft_layer_replication" not in settings:
        assert planned_by_module(counted, skeleton) == trained_by_module(injected)


@pytest.mark.parametrize(("model", "settings"), [*AWKWARD, *SAVED_TWICE, *FROZEN_IN_PART], ids=str)
def test_a_planned_scaling_is_the_one_of_the_injected_layer(model: str, settings: dict[str, Any]) -> None:
    skeleton = small(model)
    try:
        counted = plan(skeleton, **settings)
    except AdapterRefused:
        return
    layers = [layer for layer in full_injection(settings, skeleton).modules() if isinstance(layer, LoraLayer)]
    planned = sorted((module.r, module.scaling) for module in counted.modules if module.r is not None)
    injected = sorted((layer.r["default"], layer.scaling["default"]) for layer in layers)
    assert planned == injected


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("q_proj", ("q_proj",)),
        ("q_proj, v_proj", ("q_proj", "v_proj")),
        ("q_proj|v_proj", ("q_proj", "v_proj")),
        (["all-linear"], "all-linear"),
        ("q_proj,c_attn", None),
        (["c_attn"], None),
    ],
)
def test_names_in_the_wrong_form_are_put_into_the_right_one(written: Any, fix: Any) -> None:
    with pytest.raises(AdapterRefused) as refused:
        plan(small("llama"), lora_target_modules=written)
    (finding,) = refused.value.findings
    assert dict(finding.fix).get("lora_target_modules") == fix
    if fix:
        assert plan(small("llama"), lora_target_modules=fix).trainable_params > 0


@pytest.mark.parametrize(("model", "settings", "reason"), REFUSED_BY_PEFT, ids=str)
def test_the_reason_of_a_refusal_is_the_one_peft_gives(model: str, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdapterRefused, match=reason) as refused:
        plan(small(model), **settings)
    [finding] = refused.value.findings
    assert finding.setting
    assert "\n" not in finding.message


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({**LINEAR, "peft_layers_to_transform": [4]}, "peft_layers_to_transform"),
        ({**LINEAR, "peft_layer_replication": [[0, 5]]}, "peft_layer_replication"),
        ({**LINEAR, "peft_trainable_token_indices": [256]}, "peft_trainable_token_indices"),
        ({**LINEAR, "peft_init_lora_weights": "gausian"}, "peft_init_lora_weights"),
    ],
)
def test_what_this_model_does_not_have_is_named_at_its_setting(settings: dict[str, Any], setting: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        plan(small("llama"), **settings)
    assert [finding.setting for finding in refused.value.findings] == [setting]


@pytest.mark.parametrize("rank", [1, 7, 64])
def test_twice_the_rank_trains_twice_the_parameters(rank: int) -> None:
    skeleton = small("deepseek-v3")
    once, twice = plan(skeleton, lora_r=rank, **LINEAR), plan(skeleton, lora_r=2 * rank, **LINEAR)
    assert twice.trainable_params == 2 * once.trainable_params


def test_dora_adds_one_parameter_for_each_output_feature() -> None:
    plain, dora = (plan(small("llama"), peft_use_dora=chosen, **LINEAR) for chosen in (False, True))
    features = [module.shape[0] for module in plain.modules]
    added = [
        with_.trainable_params - without.trainable_params
        for with_, without in zip(dora.modules, plain.modules, strict=True)
    ]
    assert added == features


@pytest.mark.parametrize(("rank", "alpha"), [(8, 16), (7, 3), (1, 1), (256, 16)])
def test_scaling_is_alpha_over_rank_or_over_its_root(rank: int, alpha: int) -> None:
    plain, stabilised = (
        {m.scaling for m in plan(small("llama"), lora_r=rank, lora_alpha=alpha, peft_use_rslora=rs, **LINEAR).modules}
        for rs in (False, True)
    )
    assert plain == {alpha / rank}
    assert stabilised == {alpha / math.sqrt(rank)}


@pytest.mark.parametrize("init", [False, "gaussian", "pissa", "pissa_niter_4", "olora", "eva", "orthogonal"])
def test_the_start_of_the_matrices_does_not_move_the_count(init: str | bool) -> None:
    started = plan(small("llama"), peft_init_lora_weights=init, **LINEAR)
    assert started.trainable_params == plan(small("llama"), **LINEAR).trainable_params


@pytest.mark.parametrize("init", [None, "loftq"])
def test_loftq_is_counted_without_quantizing_anything(init: str | None) -> None:
    started = plan(small("llama"), loftq_bits=4, peft_init_lora_weights=init, **LINEAR)
    assert started.modules == plan(small("llama"), **LINEAR).modules


def test_a_start_that_needs_an_even_rank_says_so() -> None:
    with pytest.raises(AdapterRefused, match="rank to be even"):
        plan(small("llama"), lora_r=7, peft_init_lora_weights="orthogonal", **LINEAR)


def test_only_a_model_that_ties_its_ends_is_warned_about_counting_them_twice() -> None:
    def twice(model: str, saved: list[str]) -> bool:
        findings = plan(small(model), lora_modules_to_save=saved, **PAIR).findings
        return any("counts it twice" in finding.message for finding in findings)

    assert twice("llama-tied", BOTH_ENDS)
    assert not twice("llama-tied", ["norm", "lm_head"])
    assert not twice("llama", BOTH_ENDS)


def test_nothing_but_its_adapter_is_counted_as_added() -> None:
    skeleton = small("llama")
    counted = plan(skeleton, **LINEAR)
    assert counted.all_params - counted.trainable_params == counted.base_params == skeleton.total_params


def test_without_an_adapter_every_parameter_is_trained() -> None:
    for model in ("llama", "llama-tied", "qwen3-moe"):
        skeleton = small(model)
        counted = plan(skeleton, adapter=None)
        assert counted.trainable_params == counted.all_params == skeleton.total_params


@pytest.mark.parametrize(("model", "settings"), [*AWKWARD, *SAVED_TWICE], ids=str)
def test_planning_leaves_the_skeleton_as_it_was(model: str, settings: dict[str, Any]) -> None:
    skeleton = small(model)
    before = fingerprint(skeleton)
    with suppress(AdapterRefused):
        plan(skeleton, **settings)
    assert fingerprint(skeleton) == before


def fingerprint(skeleton: Skeleton) -> object:
    model = skeleton.model
    parameters = [(name, id(p), p.requires_grad) for name, p in model.named_parameters(remove_duplicate=False)]
    return parameters, [(path, type(module)) for path, module in model.named_modules()], sorted(vars(model))


@pytest.mark.parametrize("loading", [{"bf16": True}, {"bf16": True, "peft_autocast_adapter_dtype": False}], ids=str)
@pytest.mark.parametrize(("model", "settings"), AWKWARD, ids=str)
def test_the_adapter_file_is_as_large_as_the_tensors_peft_saves(
    model: str, settings: dict[str, Any], loading: dict[str, Any]
) -> None:
    skeleton, chosen = small(model), recipe(**settings, **loading)
    try:
        counted = plan_adapter(chosen, skeleton)
    except AdapterRefused:
        return
    # On a real device, for PEFT moves nothing to the base model's dtype on meta.
    model_in_memory = build_on_meta(skeleton.config, base_dtype(chosen)).to_empty(device="cpu")
    model_in_memory.tie_weights()
    injected = inject_adapter(chosen, model_in_memory)
    saved = get_peft_model_state_dict(injected).values()
    assert counted.adapter_file_bytes == sum(tensor.nbytes for tensor in saved)


@pytest.mark.parametrize("loading", [{"bf16": True}, {"bf16": True, "peft_autocast_adapter_dtype": False}], ids=str)
@pytest.mark.parametrize(("model", "settings"), AWKWARD, ids=str)
def test_on_meta_an_adapter_has_the_types_that_it_has_on_a_device(
    model: str, settings: dict[str, Any], loading: dict[str, Any]
) -> None:
    skeleton, chosen = small(model), recipe(**settings, **loading)
    placed = build_on_meta(skeleton.config, base_dtype(chosen)).to_empty(device="cpu")
    placed.tie_weights()
    try:
        expected = trained_types(inject_adapter(chosen, placed))
    except (ValueError, AttributeError, RuntimeError, TypeError):
        return
    assert trained_types(inject_adapter(chosen, build_on_meta(skeleton.config, base_dtype(chosen)))) == expected


def trained_types(injected: PeftModel) -> dict[str, torch.dtype]:
    return {path: parameter.dtype for path, parameter in injected.named_parameters() if parameter.requires_grad}


def test_plans_from_many_threads_are_those_of_one() -> None:
    skeleton = preset("meta-llama/Llama-3.2-1B")
    recipes = [
        recipe(lora_r=rank, lora_target_modules=names, lora_modules_to_save=saved, peft_use_dora=dora)
        for rank in (1, 5)
        for names in (["q_proj"], ["q_proj", "up_proj"], ["v_proj", "embed_tokens"])
        for saved in ([], ["norm"], ["lm_head"])
        for dora in (False, True)
    ]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda chosen: plan_adapter(chosen, skeleton), recipes))
    expected = [inject_adapter(chosen, skeleton.new_model()).get_nb_trainable_parameters() for chosen in recipes]
    assert [(counted.trainable_params, counted.all_params) for counted in together] == expected
    assert all(parameter.device == torch.device("meta") for parameter in skeleton.model.parameters())
