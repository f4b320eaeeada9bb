"""From settings to the step that Axolotl runs, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.memory import cards, find_card
from lora_explorer.memory.kernels.fused_kernels import KERNELS
from lora_explorer.memory.plan.run_plan import assumptions, step_from

from ..models import recipe_of

FOUR_BIT = {"adapter": "qlora", "load_in_4bit": True}
CHECKPOINTED = {"gradient_checkpointing": True}


def said(settings: dict[str, Any], *, card: str | None = None, **known: Any) -> str:
    recipe, chosen = recipe_of(**settings), find_card(card) if card else None
    return " ".join(assumptions(recipe, step_from(recipe, chosen), chosen, **{"has_experts": False, **known}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "fused LoRA kernels run (mlp, qkv, o, embedding)"),
        ({"lora_o_kernel": True}, "fused LoRA kernels run (o)"),
        ({**CHECKPOINTED, "activation_offloading": True}, "on a stream of its own"),
        ({**CHECKPOINTED, "activation_offloading": "legacy"}, "one tensor at a time"),
        ({**CHECKPOINTED, **FOUR_BIT, "activation_offloading": True}, "stays until the next layer is through"),
        ({**CHECKPOINTED, "activation_offloading": "hidden_states"}, "inputs of checkpointed layers leave"),
        ({"attn_implementation": "xformers"}, "repeated to all heads"),
        ({"bf16": False}, "the scores are stored where keys are grouped"),
        ({"sample_packing": True, "attn_implementation": "sdpa"}, "kept apart by their lengths"),
        ({"sample_packing": True}, "see each other"),
        ({**FOUR_BIT, "nf4_backend": "torchao"}, "as many bytes as bitsandbytes"),
        ({**FOUR_BIT, "ple_cpu_offload": True}, "are in host memory"),
        ({"optimizer": "grokadamw"}, "rest in host memory"),
        ({"chunked_cross_entropy": True, "chunked_cross_entropy_num_chunks": 5}, "in 5 pieces"),
    ],
    ids=str,
)
def test_every_choice_is_said(settings: dict[str, Any], words: str) -> None:
    assert words in said(settings)


def test_a_choice_that_was_not_made_is_not_spoken_of() -> None:
    sentences = said({"lora_o_kernel": False})
    for words in ("kernels run", "leaves", "leave", "torchao", "paged", "Experts", "not modelled"):
        assert words not in sentences


def test_where_kernels_do_not_run_the_reason_is_given() -> None:
    sentences = said({}, kernels_refused="Axolotl would stop, because of something.")
    assert "because of something." in sentences
    assert "kernels run" not in sentences


@pytest.mark.parametrize(("managed", "words"), [(0, "too small"), (3 << 30, "3.00 GiB")])
def test_what_a_paged_optimizer_holds_outside_the_allocator_is_said_in_bytes(managed: int, words: str) -> None:
    assert words in said({"optimizer": "paged_adamw_8bit"}, managed_bytes=managed)


def test_a_card_without_flash_attention_says_that_scores_may_be_stored() -> None:
    assert "scores are stored" in said({}, card="T4")
    assert "scores are stored" not in said({}, card="H200 141GB")
    assert "scores are stored" not in said({"attn_implementation": "xformers"}, card="T4")


def test_k_bit_preparation_is_left_out_where_axolotl_leaves_it_out() -> None:
    eight_bit = {"load_in_8bit": True}
    assert step_from(recipe_of(**FOUR_BIT), None).kbit_preparation
    assert step_from(recipe_of(**eight_bit), None).kbit_preparation
    experts = {"quantize_moe_experts": True, "lora_target_linear": None, "lora_target_modules": ["q_proj"]}
    for quantized in (FOUR_BIT, eight_bit):
        step = step_from(recipe_of(**quantized, **experts), None)
        assert not step.kbit_preparation
        assert step.quantization is not None
        assert step.quantization.experts


def test_merge_aware_adapters_run_through_pefts_layers() -> None:
    assert step_from(recipe_of(), None).fused_lora == set(KERNELS)
    recipe = recipe_of().model_copy(update={"nvfp4_merge_aware": True})
    assert not step_from(recipe, None).fused_lora


def test_experts_run_one_by_one_before_ampere_and_it_is_said() -> None:
    assert "one grouped product" in said({}, card="RTX 4090", has_experts=True)
    before = said({}, card="T4", has_experts=True)
    assert "one after the other" in before
    assert "grouped product" not in before


def test_a_context_that_nobody_measured_is_said_to_be_assumed() -> None:
    by_source = {card.context_source: card for card in cards()}
    assert set(by_source) == {"measured", "reported", "assumed"}
    assert "is assumed, not measured" in said({}, card=by_source["assumed"].name)
    assert "users of such cards report" in said({}, card=by_source["reported"].name)
    assert "CUDA context" not in said({}, card=by_source["measured"].name)


def test_auto_is_bfloat16_on_every_card_for_torch_says_yes_where_it_emulates_too() -> None:
    for name in ("T4", "RTX 4090"):
        assert step_from(recipe_of(bf16="auto"), find_card(name)).dtype == "bfloat16"
        assert step_from(recipe_of(bf16="auto", fp16=True), find_card(name)).dtype == "float16"
    assert "emulates" in said({}, card="T4")
    assert "the scores are stored." in said({}, card="T4")


def test_torchao_s_weights_are_not_prepared_by_peft() -> None:
    assert not step_from(recipe_of(**FOUR_BIT, nf4_backend="torchao"), None).kbit_preparation


def test_quantized_weights_are_read_one_after_the_other_as_axolotl_asks() -> None:
    assert step_from(recipe_of(**FOUR_BIT), None).loading == "placed"
