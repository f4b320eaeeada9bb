"""Runs that follow by law equal runs that are traced, to the byte and in every event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.replay.timeline import parts_at, replay
from lora_explorer.memory.runs import run_families
from lora_explorer.memory.runs.run_families import run_of
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun, timeline_of, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.settings import Recipe

from ..models import DEEPSEEK, GEMMA_3, LLAMA, MIXTRAL, recipe_of, skeleton_of

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "LoRA": (LLAMA, {}),
    "LoRA, checkpointed, clipped, accumulated": (
        LLAMA,
        {"gradient_checkpointing": True, "gradient_accumulation_steps": 2, "optimizer": "adamw_torch"},
    ),
    "QLoRA": (LLAMA, {"adapter": "qlora", "load_in_4bit": True, "gradient_checkpointing": True}),
    "8-bit base": (LLAMA, {"load_in_8bit": True}),
    "DoRA": (LLAMA, {"peft_use_dora": True, "lora_dropout": 0.1}),
    "eager attention": (LLAMA, {"attn_implementation": "eager"}),
    "8-bit optimizer": ({**LLAMA, "hidden_size": 1000, "num_attention_heads": 10}, {"optimizer": "adamw_bnb_8bit"}),
    "liger": (LLAMA, {"plugins": ["axolotl.integrations.liger.LigerPlugin"], "liger_cross_entropy": True}),
    "liger fused": (
        LLAMA,
        {"plugins": ["axolotl.integrations.liger.LigerPlugin"], "liger_fused_linear_cross_entropy": True},
    ),
    "chunked loss": (LLAMA, {"chunked_cross_entropy": True}),
    "packed": (LLAMA, {"sample_packing": True, "attn_implementation": "flash_attention_2"}),
    "saved modules": (LLAMA, {"lora_modules_to_save": ["lm_head", "embed_tokens"]}),
    "a rank of its own": (LLAMA, {"lora_rank_pattern": {"q_proj": 4}}),
    "mixture of experts": (MIXTRAL, {"gradient_checkpointing": True}),
    "dense layers first": (DEEPSEEK, {}),
    "layer inputs that leave": (LLAMA, {"gradient_checkpointing": True, "activation_offloading": True}),
    "hidden states that leave": (LLAMA, {"gradient_checkpointing": True, "activation_offloading": "hidden_states"}),
    "windows": ({**GEMMA_3, "sliding_window": 1024}, {}),
}
# Small, large, odd; alpha is 16: at that rank nothing is scaled.
POINTS = [(2, 2048, 12), (3, 2048, 12), (3, 1024, 12), (6, 4096, 16), (2, 2048, 33), (1, 2048, 12), (1, 1024, 16)]


@pytest.fixture(autouse=True)
def no_families() -> None:
    run_families._families.clear()


def asked(config: dict[str, Any], rows: int, tokens: int, rank: int, **settings: Any) -> tuple[Skeleton, Step, Adapter]:
    recipe: Recipe = recipe_of(micro_batch_size=rows, sequence_len=tokens, lora_r=rank, **settings)
    return skeleton_of(config), step_from(recipe, None), RecipeAdapter(recipe)


def assert_equal(run: TracedRun, traced: TracedRun, step: Step) -> None:
    assert run.residents == traced.residents
    assert run.trained == traced.trained
    one, other = (timeline_of(each, step, 8 << 20) for each in (run, traced))
    assert np.array_equal(one.sizes_bytes, other.sizes_bytes)
    assert np.array_equal(one.events, other.events)
    assert np.array_equal(one.codes, other.codes)
    assert one.marks == other.marks
    for expandable in (False, True):
        results = [replay(each, expandable_segments=expandable) for each in (one, other)]
        assert results[0] == results[1]
        position, allocated = results[0].peak_position, results[0].peak_allocated_bytes
        assert parts_at(one, position, allocated) == parts_at(other, position, allocated)


@pytest.mark.parametrize("case", CASES)
def test_every_member_of_a_family_equals_its_own_trace(case: str) -> None:
    config, settings = CASES[case]
    for rows, tokens, rank in POINTS:
        skeleton, step, adapter = asked(config, rows, tokens, rank, **settings)
        assert_equal(run_of(skeleton, step, adapter), trace_run(skeleton, step, adapter), step)
    assert any(family.law is not None for family in run_families._families[skeleton].values())


def test_after_three_traces_a_family_needs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []

    def counted(*args: Any, **options: Any) -> TracedRun:
        traced.append(args)
        return trace_run(*args, **options)

    monkeypatch.setattr(run_families, "trace_run", counted)
    for rows, tokens, rank in [(2, 2048, 12), (4, 2048, 12), (4, 1024, 12), (4, 1024, 100), (16, 32768, 8)]:
        run_of(*asked(LLAMA, rows, tokens, rank))
    assert len(traced) == 3


@pytest.mark.parametrize("tokens", [(512, 640, 896), (2048, 4096, 16384)], ids=["below", "beyond"])
def test_on_either_side_of_a_window_length_has_a_law(tokens: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    config, settings = CASES["windows"]
    *traced, last = tokens
    for length in traced:
        run_of(*asked(config, 2, length, 12, **settings))
    monkeypatch.setattr(run_families, "trace_run", lambda *_, **__: pytest.fail("traced"))
    skeleton, step, adapter = asked(config, 2, last, 12, **settings)
    assert_equal(run_of(skeleton, step, adapter), trace_run(skeleton, step, adapter), step)


@pytest.mark.parametrize("case", ["saved modules", "liger fused"])
def test_where_length_has_no_law_rank_still_has_one(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, settings = CASES[case]
    for rank in (12, 20):
        run_of(*asked(config, 2, 4096, rank, **settings))
    monkeypatch.setattr(run_families, "trace_run", lambda *_, **__: pytest.fail("traced"))
    skeleton, step, adapter = asked(config, 2, 4096, 100, **settings)
    assert_equal(run_of(skeleton, step, adapter), trace_run(skeleton, step, adapter), step)


def test_full_fine_tuning_has_a_law_without_a_rank() -> None:
    skeleton = skeleton_of(LLAMA)
    for rows, tokens in ((2, 512), (3, 512), (4, 1024)):
        step = Step(rows, tokens, inputs_require_grads=False)
        assert_equal(run_of(skeleton, step, Everything()), trace_run(skeleton, step, Everything()), step)


def test_a_point_outside_is_traced_and_then_belongs_to_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    for tokens in (2048, 4096):
        run_of(*asked(LLAMA, 2, tokens, 12))
    run_of(*asked(LLAMA, 2, 128, 12))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("traced")

    monkeypatch.setattr(run_families, "trace_run", forbidden)
    run_of(*asked(LLAMA, 2, 256, 12))
    with pytest.raises(AssertionError, match="traced"):
        run_of(*asked(LLAMA, 2, 200, 12))


def test_families_of_a_model_are_bounded() -> None:
    skeleton, step, adapter = asked(LLAMA, 2, 256, 12)
    for tokens in range(run_families.FAMILIES_OF_A_MODEL + 5):
        run_of(skeleton, replace(step, sequence_len=256 + tokens), adapter)
    assert len(run_families._families[skeleton]) == run_families.FAMILIES_OF_A_MODEL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"optimizer": "paged_adamw_8bit"}),
        ({}, {"max_grad_norm": 0.0}),
        (
            {"lora_modules_to_save": ["embed_tokens"]},
            {"lora_modules_to_save": ["embed_tokens"], "optimizer": "adamw_bnb_8bit"},
        ),
        ({}, {"lora_alpha": 64, "lora_alpha_pattern": {"q_proj": 3}}),
        ({}, {"peft_use_rslora": True}),
        ({"lora_dropout": 0.1}, {"lora_dropout": 0.3}),
        ({"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 8}),
    ],
    ids=str,
)
def test_what_a_traced_step_cannot_see_takes_no_other_trace(
    before: dict[str, Any], after: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(*asked(LLAMA, 2, 512, 12, **before))
    monkeypatch.setattr(run_families, "trace_run", lambda *_, **__: pytest.fail("traced"))
    skeleton, step, adapter = asked(LLAMA, 2, 512, 12, **after)
    assert_equal(run_of(skeleton, step, adapter), trace_run(skeleton, step, adapter), step)


def test_where_a_scale_of_one_is_skipped_another_alpha_is_another_run() -> None:
    for alpha in (12, 16, 12):
        skeleton, step, adapter = asked(MIXTRAL, 2, 512, 12, lora_alpha=alpha, lora_target_modules=["w1", "w2", "w3"])
        assert_equal(run_of(skeleton, step, adapter), trace_run(skeleton, step, adapter), step)
