"""The time of a step follows from its operations, its bytes and the card, and is shown as a range."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.base_models import base_model_from_config
from lora_explorer.errors import MemoryUnknown, SpeedUnknown
from lora_explorer.memory import estimate as memory_estimate
from lora_explorer.memory import estimate_memory, find_card
from lora_explorer.memory.runs import run_families
from lora_explorer.speed import MeasuredEfficiency, SpeedEstimate, estimate_speed
from lora_explorer.speed import estimate as speed_estimate
from lora_explorer.speed.measured_error import EFFICIENCIES, HOST_SECONDS_PER_KERNEL, OF_KNOWN_CARDS, OF_OTHER_CARDS

from .models import LLAMA, a100, llama, recipe_of

FULL = dict.fromkeys(("adapter", "lora_r", "lora_alpha", "lora_target_linear", "lora_mlp_kernel"))


def speed_of(gpu: str = "A100 80GB SXM", **settings: Any) -> SpeedEstimate:
    return estimate_speed(recipe_of(**settings), llama(), card=find_card(gpu))


def test_a_step_is_a_range_around_what_is_expected() -> None:
    speed = speed_of()
    low, high = speed.step_seconds
    assert low < speed.expected_step_seconds < high
    assert (low, high) == pytest.approx(
        tuple(speed.expected_step_seconds * edge for edge in (OF_KNOWN_CARDS.shortest, OF_KNOWN_CARDS.longest))
    )
    slow, fast = speed.tokens_per_second
    assert slow * high == pytest.approx(speed.tokens_per_step) == pytest.approx(fast * low)
    assert speed.tokens_per_step == 8 * 2048


def test_stages_and_kinds_add_up_to_the_expected_step() -> None:
    speed = speed_of(adapter="qlora", load_in_4bit=True, gradient_checkpointing=True)
    assert sum(speed.stages.values()) == pytest.approx(speed.expected_step_seconds)
    assert sum(speed.kinds.values()) == pytest.approx(speed.expected_step_seconds)
    assert set(speed.stages) == {"forward", "recomputation", "backward", "optimizer"}
    assert set(speed.kinds) >= {"attention", "matrix products", "unpacking quantized weights"}


def test_checkpointing_costs_what_is_computed_again() -> None:
    kept, again = speed_of(), speed_of(gradient_checkpointing=True)
    assert "recomputation" not in kept.stages
    assert again.flops_per_step > kept.flops_per_step
    assert again.expected_step_seconds == pytest.approx(
        kept.expected_step_seconds + again.stages["recomputation"], rel=0.02
    )


@pytest.mark.parametrize(
    "slower",
    [
        {"peft_use_dora": True},
        {"adapter": "qlora", "load_in_4bit": True},
        {"lora_r": 256},
        {"lora_dropout": 0.1},
        {"attn_implementation": "eager"},
        {"gradient_checkpointing": True},
    ],
)
def test_what_computes_or_moves_more_takes_longer(slower: dict[str, Any]) -> None:
    assert speed_of(**slower).expected_step_seconds > speed_of().expected_step_seconds


def test_micro_batches_are_added_up_and_the_optimizer_steps_once() -> None:
    one, four = speed_of(), speed_of(gradient_accumulation_steps=4)
    assert four.flops_per_step == 4 * one.flops_per_step
    assert four.tokens_per_step == 4 * one.tokens_per_step
    assert four.stages["optimizer"] == pytest.approx(one.stages["optimizer"])
    assert 3 < four.expected_step_seconds / one.expected_step_seconds < 4.3


def test_twice_the_rows_take_twice_as_long_where_the_card_is_busy() -> None:
    few, many = speed_of(micro_batch_size=16), speed_of(micro_batch_size=32)
    assert many.expected_step_seconds / few.expected_step_seconds == pytest.approx(2, rel=0.05)
    assert {few.limited_by, many.limited_by} <= {"products", "memory"}


def test_few_tokens_wait_for_the_host() -> None:
    speed = speed_of(micro_batch_size=1, sequence_len=64)
    assert speed.limited_by == "host"
    assert speed.expected_step_seconds == pytest.approx(speed.kernels_per_step * HOST_SECONDS_PER_KERNEL)


def test_attention_over_packed_rows_looks_no_further_than_a_document() -> None:
    packed = recipe_of(sample_packing=True, attn_implementation="flash_attention_2", micro_batch_size=2)
    whole, short = (estimate_speed(packed, llama(), card=a100(), document_tokens=tokens) for tokens in (None, 256))
    assert short.kinds["attention"] < whole.kinds["attention"]
    assert short.kinds["matrix products"] == pytest.approx(whole.kinds["matrix products"])
    # In one row of two sequences, each attends to itself.
    unpacked = estimate_speed(packed.changed(sample_packing=False), llama(), card=a100())
    assert whole.flops_per_step == unpacked.flops_per_step


@pytest.mark.parametrize(
    ("attention", "apart"), [("flash_attention_2", True), ("sdpa", True), ("eager", False), (None, False)]
)
def test_packed_documents_are_apart_for_time_where_the_kernel_keeps_them_apart(
    attention: str | None, apart: bool
) -> None:
    packed = recipe_of(sample_packing=True, attn_implementation=attention, micro_batch_size=2)
    whole, short = (estimate_speed(packed, llama(), card=a100(), document_tokens=tokens) for tokens in (None, 256))
    assert (short.flops_per_step < whole.flops_per_step) is apart
    told = "looks no further than a document" if apart else "different documents too"
    assert any(told in sentence for sentence in short.assumptions)


@pytest.mark.parametrize(
    "optimizer", ["adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit", "adafactor", "muon", "lion_8bit"]
)
def test_an_optimizer_takes_time_for_the_bytes_it_moves(optimizer: str) -> None:
    adapted, trained = speed_of(optimizer=optimizer), speed_of(optimizer=optimizer, **FULL)
    assert trained.stages["optimizer"] > 5 * adapted.stages["optimizer"] > 0


def test_eight_bit_states_are_moved_faster_than_thirty_two_bit_ones() -> None:
    eight, more = (
        speed_of(optimizer=name, bf16=False, fp16=False, **FULL) for name in ("adamw_bnb_8bit", "adamw_torch_fused")
    )
    assert eight.stages["optimizer"] < more.stages["optimizer"]


def test_a_card_without_figures_has_a_wider_range_than_one_with() -> None:
    known, other = speed_of("A100 80GB SXM"), speed_of("RTX A5000")
    assert (known.origin, other.origin) == ("card", "others")
    assert known.step_seconds.high / known.step_seconds.low < other.step_seconds.high / other.step_seconds.low
    assert f"{OF_OTHER_CARDS.worst_percent:.0f} % at the worst" in other.based_on
    assert known.efficiency == EFFICIENCIES["A100 80GB SXM"]


def test_what_previews_measured_on_a_card_takes_the_place_of_figures_of_others() -> None:
    card = find_card("RTX A5000")
    measured = MeasuredEfficiency(card.name, 0.4, 0.38, 0.42, steps=20, runs=2)
    before, after = (estimate_speed(recipe_of(), llama(), card=card, measured=found) for found in (None, measured))
    assert after.origin == "previews"
    assert after.efficiency == 0.4
    assert after.expected_step_seconds == pytest.approx(before.expected_step_seconds * before.efficiency / 0.4)
    spread = [each.step_seconds.high / each.step_seconds.low for each in (after, before)]
    assert spread[0] < spread[1]
    assert "20 steps of 2 previews" in after.based_on


def test_what_was_measured_on_one_card_says_nothing_of_another() -> None:
    measured = MeasuredEfficiency("RTX A5000", 0.1, 0.1, 0.1, steps=20, runs=2)
    assert estimate_speed(recipe_of(), llama(), card=a100(), measured=measured) == speed_of()


def test_a_measured_range_is_no_narrower_than_its_own_steps() -> None:
    measured = MeasuredEfficiency("A100 80GB SXM", 0.6, 0.2, 1.2, steps=20, runs=1)
    low, high = estimate_speed(recipe_of(), llama(), card=a100(), measured=measured).step_seconds
    assert high / low == pytest.approx(6)


def test_a_card_whose_rates_nobody_published_is_refused_in_a_sentence() -> None:
    with pytest.raises(SpeedUnknown, match="How fast A100 80GB SXM computes is not in"):
        estimate_speed(recipe_of(), llama(), card=replace(a100(), fp32_tflops=None))


def test_more_tokens_than_can_be_counted_are_refused_in_a_sentence() -> None:
    with pytest.raises(SpeedUnknown, match="more than can be timed"):
        speed_of(micro_batch_size=256, sequence_len=4_194_304, attn_implementation="eager")


@pytest.mark.parametrize("optimizer", ["ao_adamw_8bit", "flash_adamw"])
def test_an_optimizer_that_cannot_be_traced_is_refused_as_its_memory_is(optimizer: str) -> None:
    with pytest.raises(MemoryUnknown, match=optimizer) as refused:
        speed_of(optimizer=optimizer)
    assert refused.value.findings[0].setting == "optimizer"


def test_emulated_bfloat16_is_slower_than_float16_and_says_so() -> None:
    emulated, native = speed_of("T4"), speed_of("T4", bf16=False, fp16=True)
    assert emulated.expected_step_seconds > native.expected_step_seconds
    assert any("emulates bfloat16" in sentence for sentence in emulated.assumptions)
    assert not any("emulates" in sentence for sentence in native.assumptions)


def test_tf32_makes_float32_products_faster_where_there_are_cores_for_it() -> None:
    single = {"bf16": False, "fp16": False}
    assert speed_of(tf32=True, **single).expected_step_seconds < speed_of(**single).expected_step_seconds
    assert speed_of("T4", tf32=True, **single).expected_step_seconds == speed_of("T4", **single).expected_step_seconds


@pytest.mark.parametrize(
    ("gpu", "told"),
    [("MI300X", "an AMD card"), ("T4", "a card as old as T4"), ("RTX 3090", None), ("H200 141GB", None)],
)
def test_cards_that_no_public_figure_is_like_say_so(gpu: str, told: str | None) -> None:
    found = [sentence for sentence in speed_of(gpu).assumptions if "No public figure" in sentence]
    assert found == ([f"No public figure is of {told}: its time may lie outside the range."] if told else [])


def test_a_card_that_previews_were_timed_on_needs_no_public_figure() -> None:
    measured = MeasuredEfficiency("T4", 0.5, 0.4, 0.6, steps=20, runs=1)
    speed = estimate_speed(recipe_of(), llama(), card=find_card("T4"), measured=measured)
    assert not any("No public figure" in sentence for sentence in speed.assumptions)


@pytest.mark.parametrize("gpu", ["A100 80GB SXM", "T4"])
def test_a_mixture_of_experts_says_that_no_public_figure_is_of_one(gpu: str) -> None:
    config = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    mixture = base_model_from_config(json.dumps(config), "owner/mixture")
    recipe = recipe_of(base_model="owner/mixture", micro_batch_size=1, sequence_len=256)
    for base_model, expected in ((mixture, True), (llama(), False)):
        speed = estimate_speed(recipe, base_model, card=find_card(gpu))
        assert any("of a mixture of experts" in sentence for sentence in speed.assumptions) is expected


def test_copies_to_the_host_are_waited_for_only_where_they_are_not_hidden() -> None:
    checkpointed = speed_of(gradient_checkpointing=True)
    beside, waited = (speed_of(gradient_checkpointing=True, activation_offloading=kind) for kind in (True, "legacy"))
    assert beside.expected_step_seconds == pytest.approx(checkpointed.expected_step_seconds, rel=0.05)
    assert waited.expected_step_seconds > 1.02 * checkpointed.expected_step_seconds
    assert any("hidden behind the kernels" in sentence for sentence in beside.assumptions)
    assert any("31.5 GB/s" in sentence for sentence in waited.assumptions)


def test_a_link_that_is_not_known_is_left_out_and_told() -> None:
    card = replace(a100(), host_link_gb_per_s=None)
    recipe = recipe_of(gradient_checkpointing=True, activation_offloading="legacy")
    assert any("are left out" in sentence for sentence in estimate_speed(recipe, llama(), card=card).assumptions)


def test_memory_and_speed_share_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[object] = []
    original = run_families.trace_run
    monkeypatch.setattr(
        run_families, "trace_run", lambda *args, **kwargs: traced.append(args) or original(*args, **kwargs)
    )
    recipe = recipe_of(sequence_len=1333, micro_batch_size=3)
    memory_estimate._estimate.cache_clear()
    estimate_memory(recipe, llama(), card=a100(), every_card=False)
    assert len(traced) == 1
    estimate_speed(recipe, llama(), card=a100())
    assert len(traced) == 1


def anew() -> None:
    """Nothing that was traced or counted before is at hand."""
    run_families._families.clear()
    speed_estimate._work.cache_clear()


# One recipe after another that may share its trace: every one differs in the work of a step, or in nothing of it.
DROPS = {"lora_dropout": 0.1}


@pytest.mark.parametrize(
    ("first", "second", "same_work"),
    [
        ({}, {"optimizer": "sgd"}, False),
        ({}, {"optimizer": "lion_8bit"}, False),
        ({}, {"optimizer": "adafactor"}, False),
        ({"optimizer": "muon"}, {}, False),
        ({}, {"max_grad_norm": 0}, False),
        ({}, {"gradient_accumulation_steps": 4}, False),
        ({}, {"optimizer": "sgd", "lora_r": 24}, False),
        ({}, DROPS, False),
        (DROPS, {}, False),
        (DROPS, {"lora_dropout": 0.3}, True),
        ({}, {"lora_alpha": 64}, True),
        ({"lora_alpha": 16}, {"lora_alpha": 64}, True),
    ],
    ids=str,
)
def test_recipes_that_share_a_trace_have_their_own_figures(
    first: dict[str, Any], second: dict[str, Any], same_work: bool
) -> None:
    anew()
    alone = speed_of(**second)
    anew()
    before, after = speed_of(**first), speed_of(**second)
    assert after == alone
    work = [(each.flops_per_step, each.bytes_moved_per_step, each.kernels_per_step) for each in (before, after)]
    assert (work[0] == work[1]) is same_work


@pytest.mark.parametrize("settings", [{"optimizer": "sgd"}, {"max_grad_norm": 0}, {"lora_alpha": 64}], ids=str)
def test_what_does_not_change_the_passes_is_not_traced_again(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    anew()
    passes = {name: time for name, time in speed_of().stages.items() if name != "optimizer"}
    monkeypatch.setattr(run_families, "trace_run", None)
    found = {name: time for name, time in speed_of(**settings).stages.items() if name != "optimizer"}
    assert found == pytest.approx(passes)
