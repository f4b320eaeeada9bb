"""A lower bound stays below what the traced step needs, counts what is certain, and says that it is no estimate."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory import cards, count_lower_bound, estimate_memory
from lora_explorer.memory.lower_bound import LowerBound
from lora_explorer.memory.plan.parallel_plan import ParallelPlan
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.runs.traced_run import RecipeAdapter, timeline_of, trace_run
from lora_explorer.memory.tracing.prepared_model import Everything

from .models import DEEPSEEK, GPT_OSS, LLAMA, MIXTRAL, llama_3_8b, model_of, recipe_of, skeleton_of

REASON = "The step cannot be traced."
ALL_TRAINED = {"adapter": None, "lora_r": None, "lora_alpha": None, "lora_target_linear": None}
QLORA = {"adapter": "qlora", "load_in_4bit": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "checkpointing": {"gradient_checkpointing": True},
    "4-bit": {**QLORA, "gradient_checkpointing": True},
    "8-bit": {"load_in_8bit": True},
    "full fine-tuning": ALL_TRAINED,
    "full fine-tuning, accumulated, checkpointing": {
        **ALL_TRAINED, "gradient_accumulation_steps": 4, "gradient_checkpointing": True,
    },
    "float32": {"bf16": False},
    "fused loss": {"liger_fused_linear_cross_entropy": True, "plugins": ["axolotl.integrations.liger.LigerPlugin"]},
    "long rows": {"sequence_len": 4096, "optimizer": "adamw_8bit", "attn_implementation": "flash_attention_2"},
    "saved copies": {"lora_modules_to_save": ["lm_head", "embed_tokens"]},
}  # fmt: skip


def bound_of(config: dict[str, Any], **settings: Any) -> LowerBound:
    return count_lower_bound(recipe_of(**settings), model_of(config), REASON)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("config", [LLAMA, MIXTRAL], ids=lambda config: str(config["model_type"]))
def test_what_a_traced_step_needs_is_never_below_the_bound(config: dict[str, Any], settings: dict[str, Any]) -> None:
    estimate = estimate_memory(recipe_of(**settings), model_of(config))
    assert bound_of(config, **settings).at_least_bytes <= estimate.peak_allocated_bytes


@pytest.mark.parametrize("settings", [QLORA, {}, ALL_TRAINED], ids=["4-bit", "LoRA", "full fine-tuning"])
@pytest.mark.parametrize("config", [LLAMA, DEEPSEEK, GPT_OSS], ids=lambda config: str(config["model_type"]))
def test_what_is_counted_is_what_a_traced_run_holds(config: dict[str, Any], settings: dict[str, Any]) -> None:
    recipe = recipe_of(**settings)
    step = step_from(recipe, None)
    run = trace_run(skeleton_of(config), step, RecipeAdapter(recipe) if recipe.adapter else Everything())
    timeline = timeline_of(run, step, 0)
    states = zip(timeline.sizes_bytes, timeline.categories, strict=True)
    held = Counter({"optimizer states": sum(size for size, category in states if category == "optimizer states")})
    for resident in run.residents:
        held[resident.category] += resident.size_bytes
    counted = dict(bound_of(config, **settings).parts)
    # bitsandbytes converts the biases of 4-bit layers when they are first used.
    assert {part: counted.get(part) for part in held} == pytest.approx(dict(held), rel=1e-3)


def test_half_of_a_real_model_s_need_can_be_counted() -> None:
    recipe = recipe_of(gradient_checkpointing=True, micro_batch_size=2, sequence_len=2048)
    bound = count_lower_bound(recipe, llama_3_8b(), REASON)
    assert bound.at_least_bytes > 0.5 * estimate_memory(recipe, llama_3_8b()).peak_allocated_bytes


def test_only_what_is_there_at_the_same_moment_is_added_up() -> None:
    loss, update = bound_of(LLAMA, sequence_len=4096), bound_of(LLAMA, sequence_len=16, **ALL_TRAINED)
    assert (loss.moment, update.moment) == ("loss", "optimizer step")
    assert "gradients" not in dict(loss.parts)
    assert "logits and loss" not in dict(update.parts)
    assert "gradients" in dict(bound_of(LLAMA, sequence_len=4096, gradient_accumulation_steps=2).parts)


def test_states_that_can_move_to_the_host_are_left_out_and_that_is_said() -> None:
    paged, resident = (bound_of(LLAMA, optimizer=name) for name in ("paged_adamw_8bit", "adamw_8bit"))
    assert "optimizer states" in dict(resident.parts)
    assert "optimizer states" not in dict(paged.parts)
    assert (len(resident.left_out), len(paged.left_out)) == (0, 1)


def test_settings_that_cannot_be_described_still_have_a_bound() -> None:
    settings = {"micro_batch_size": 1 << 12, "sequence_len": 1 << 19}
    with pytest.raises(MemoryUnknown) as unknown:
        estimate_memory(recipe_of(**settings), model_of(LLAMA))
    bound = count_lower_bound(recipe_of(**settings), model_of(LLAMA), str(unknown.value))
    assert bound.reason == str(unknown.value)
    assert all(bound.rules_out(card) for card in cards())


def test_a_gpu_among_several_needs_no_more_than_one_alone() -> None:
    alone = bound_of(LLAMA, **ALL_TRAINED)
    for sharding in ("none", "full"):
        plan = ParallelPlan(4, sharding)  # type: ignore[arg-type]
        among = count_lower_bound(recipe_of(**ALL_TRAINED), model_of(LLAMA), REASON, parallel=plan)
        assert among.at_least_bytes < alone.at_least_bytes
        weights = dict(among.parts)["base weights"]
        assert weights == dict(alone.parts)["base weights"] // (4 if sharding == "full" else 1)
