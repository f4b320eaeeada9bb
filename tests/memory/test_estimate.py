"""The estimate as the page and the command line see it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.errors import ExplorerError, InvalidSettings, MemoryUnknown
from lora_explorer.memory import MemoryEstimate, estimate_memory, find_card
from lora_explorer.memory import estimate as module
from lora_explorer.memory.measured_error import spare_bytes_to_be_sure
from lora_explorer.memory.plan.parallel_plan import plan_parallel
from lora_explorer.memory.result import PARTS

from .models import DEEPSEEK, GEMMA_3, GPT_OSS, LLAMA, MIXTRAL, llama_3_8b, model_of, recipe_of, skeleton_of

SMALL = model_of(LLAMA)


def estimated(**settings: Any) -> MemoryEstimate:
    return estimate_memory(recipe_of(**settings), SMALL)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"adapter": "qlora", "load_in_4bit": True},
        {"load_in_8bit": True},
        {"adapter": None, "lora_target_linear": None, "lora_r": None, "lora_alpha": None},
        {"gradient_checkpointing": True, "optimizer": "adamw_torch"},
        {"attn_implementation": "flash_attention_2", "sample_packing": True, "micro_batch_size": 2},
        {"sample_packing": True, "micro_batch_size": 2},
        {"attn_implementation": "flex_attention"},
        {"attn_implementation": "eager"},
        {"lora_modules_to_save": ["lm_head", "embed_tokens"]},
        {"peft_use_dora": True},
        {"peft_layers_to_transform": [1, 3], "lora_rank_pattern": {"q_proj": 4}},
        {"gradient_accumulation_steps": 4},
        {"bf16": False, "fp16": True},
        {"bf16": False},
    ],
    ids=str,
)
def test_the_parts_add_up_to_the_peak_and_the_peak_is_the_highest_phase(settings: dict[str, Any]) -> None:
    estimate = estimated(**settings)
    assert sum(size for _, size in estimate.parts) == estimate.peak_allocated_bytes
    assert all(size > 0 for _, size in estimate.parts)
    phases = {
        "forward": estimate.peak_forward_bytes,
        "backward": estimate.peak_backward_bytes,
        "optimizer": estimate.peak_optimizer_bytes,
    }
    assert estimate.peak_allocated_bytes >= max(phases.values()) >= estimate.allocated_after_load_bytes
    assert estimate.peak.phase == "load" or phases[estimate.peak.phase] == estimate.peak_allocated_bytes
    assert estimate.peak_allocated_bytes <= estimate.peak_reserved_bytes < estimate.process_bytes
    assert {name for name, _ in estimate.parts} <= set(PARTS)
    whole_bar = sum(size for _, size in estimate.parts) + sum(estimate.beyond_peak.values())
    assert whole_bar == estimate.process_bytes
    assert estimate.assumptions


@pytest.mark.parametrize("config", [MIXTRAL, GEMMA_3, DEEPSEEK, GPT_OSS], ids=lambda config: config["model_type"])
def test_architectures_of_every_kind_are_estimated_alike_shallow_and_deep(config: dict[str, Any]) -> None:
    base_model, recipe = model_of(config), recipe_of(gradient_checkpointing=True)
    shallow, deep = (estimate_memory(recipe, base_model, full_depth=depth) for depth in (False, True))
    unlike = {"method": "", "peak_reserved_bytes": 0, "process_bytes": 0, "fits": ()}
    assert replace(shallow, **unlike) == replace(deep, **unlike)
    assert shallow.peak_reserved_bytes == pytest.approx(deep.peak_reserved_bytes, rel=1e-3)
    assert shallow.method != deep.method


def test_llama_3_8b_with_lora_holds_what_published_runs_report() -> None:
    # 2 bytes a base parameter, 12 an adapter parameter, about 17.5 MB: rank 32 on all linear layers.
    estimate = estimate_memory(recipe_of(lora_r=32, sequence_len=64, gradient_checkpointing=True), llama_3_8b())
    parts = dict(estimate.parts)
    resident = parts["base weights"] + parts["adapter"] + parts["optimizer state"] + parts["workspaces"]
    adapter = 83_886_080
    assert resident == pytest.approx(2 * 8_030_261_248 + 12 * adapter + 17_500_000, rel=1e-3)


def test_a_higher_rank_costs_twelve_bytes_a_parameter_and_its_gradient() -> None:
    low, high = (dict(estimated(lora_r=rank).parts) for rank in (16, 32))
    assert high["adapter"] == 2 * low["adapter"]
    assert high["optimizer state"] == pytest.approx(2 * low["optimizer state"], rel=0.01)


def test_an_eight_bit_optimizer_needs_a_quarter_of_the_states() -> None:
    wide = model_of({**LLAMA, "hidden_size": 1024})
    full, eight = (
        dict(estimate_memory(recipe_of(lora_r=64, optimizer=name), wide).parts)["optimizer state"]
        for name in ("adamw_torch", "adamw_bnb_8bit")
    )
    assert eight == pytest.approx(full / 4, rel=0.1)


def test_more_tokens_need_more_memory_and_fit_on_no_more_cards() -> None:
    estimates = [
        estimate_memory(recipe_of(sequence_len=tokens, gradient_checkpointing=True), llama_3_8b())
        for tokens in (512, 4096)
    ]
    assert estimates[0].peak_allocated_bytes < estimates[1].peak_allocated_bytes
    fitting = [{fit.gpu for fit in estimate.fits if fit.fits} for estimate in estimates]
    assert fitting[1] < fitting[0]


def test_llama_3_8b_does_not_fit_on_a_t4_but_does_on_an_h100() -> None:
    fits = {fit.gpu: fit for fit in estimate_memory(recipe_of(), llama_3_8b()).fits}
    assert not fits["T4"].fits
    assert fits["T4"].headroom_bytes < 0
    assert any(fit.fits and fit.headroom_bytes > 0 for name, fit in fits.items() if name.startswith("H100"))


def test_a_verdict_is_what_became_of_the_run_on_a_card_of_that_size(monkeypatch: pytest.MonkeyPatch) -> None:
    free = estimate_memory(recipe_of(sequence_len=97), SMALL)
    like = find_card("T4")
    capacities = {
        "wide": free.peak_reserved_bytes + 2 * spare_bytes_to_be_sure(free.process_bytes) + (1 << 30),
        "just": free.peak_reserved_bytes,
        "short": free.peak_allocated_bytes - (4 << 20),
    }
    sized = tuple(replace(like, name=name, memory_bytes=size + like.context_bytes) for name, size in capacities.items())
    monkeypatch.setattr(module, "cards", lambda: sized)
    module._estimate.cache_clear()
    wide, just, short = estimate_memory(recipe_of(sequence_len=97), SMALL).fits
    module._estimate.cache_clear()
    assert [(fit.verdict, fit.fits) for fit in (wide, just, short)] == [
        ("fits", True),
        ("tight", True),
        ("does not fit", False),
    ]
    assert wide.headroom_bytes > just.headroom_bytes == 0 > short.headroom_bytes
    assert short.failed_in is not None
    assert wide.failed_in is just.failed_in is None


def test_a_run_that_only_cached_memory_given_back_saves_is_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"adapter": "qlora", "load_in_4bit": True, "sequence_len": 512}
    options = {"expandable_segments": False}
    base_model = model_of({**LLAMA, "hidden_size": 1024, "intermediate_size": 4096, "vocab_size": 8000})
    free = estimate_memory(recipe_of(**settings), base_model, **options)
    like = find_card("RTX 4090")
    spare = free.peak_reserved_bytes - free.peak_allocated_bytes
    sized = tuple(
        replace(like, name=f"{share} %", memory_bytes=free.peak_allocated_bytes + spare * share // 100 + context)
        for context in [like.context_bytes]
        for share in range(0, 110, 10)
    )
    monkeypatch.setattr(module, "cards", lambda: sized)
    module._estimate.cache_clear()
    fits = estimate_memory(recipe_of(**settings), base_model, **options).fits
    module._estimate.cache_clear()
    saved = [fit for fit in fits if fit.gives_cache_back]
    assert saved
    for fit in saved:
        assert (fit.verdict, fit.fits, fit.headroom_bytes, fit.failed_in) == ("tight", True, 0, None)
        assert fit.process_bytes is not None
        assert fit.process_bytes <= fit.capacity_bytes < free.peak_reserved_bytes + like.context_bytes
    assert [fit.headroom_bytes for fit in fits] == sorted(fit.headroom_bytes for fit in fits)
    assert not fits[0].fits


ANY_CARD = [
    {"sequence_len": 4096, "attn_implementation": "sdpa"},
    {"adapter": "qlora", "load_in_4bit": True},
    {"attn_implementation": "flash_attention_2", "sample_packing": True},
    {"load_in_8bit": True, "bf16": True},
    {"attn_implementation": "eager", "sequence_len": 1024},
]


@pytest.mark.parametrize("settings", ANY_CARD, ids=str)
def test_a_card_s_verdict_is_the_same_whichever_card_is_chosen(settings: dict[str, Any]) -> None:
    recipe = recipe_of(**settings)
    chosen = (None, *(find_card(name) for name in ("T4", "V100 16GB", "RTX 4090", "H200 141GB", "MI300X")))
    first, *others = (estimate_memory(recipe, llama_3_8b(), card=card).fits for card in chosen)
    assert len({fit.gpu for fit in first}) == len(module.cards())
    assert all(fits == first for fits in others)


@pytest.mark.parametrize("settings", ANY_CARD, ids=str)
def test_of_cards_of_one_kind_the_larger_never_has_less_to_spare(settings: dict[str, Any]) -> None:
    by_name = {card.name: card for card in module.cards()}
    kinds: dict[tuple[bool, int], list[tuple[int, int]]] = {}
    for fit in estimate_memory(recipe_of(**settings), llama_3_8b()).fits:
        card = by_name[fit.gpu]
        assert fit.fits is (fit.headroom_bytes >= 0)
        if fit.reason is None:
            kind = kinds.setdefault((card.flash_attention, card.workspace_bytes), [])
            kind.append((card.capacity_bytes, fit.headroom_bytes))
    assert kinds
    for kind in kinds.values():
        headrooms = [headroom for _, headroom in sorted(kind)]
        assert headrooms == sorted(headrooms)


@pytest.mark.parametrize(
    ("settings", "refused", "taken"),
    [
        ({"attn_implementation": "flash_attention_2"}, ("T4", "V100 16GB", "P100 16GB"), ("L4", "MI300X")),
        ({"flash_attention": True}, ("T4",), ("A10",)),
        ({"attn_implementation": "flash_attention_4"}, ("T4", "RTX 4090"), ("H200 141GB",)),
        ({"attn_implementation": "sage"}, ("T4", "MI300X", "B200"), ("RTX 4090", "H200 141GB")),
        ({"load_in_8bit": True}, ("V100 16GB",), ("T4",)),
        ({"bf16": True}, (), ("T4", "V100 32GB")),
        ({"sample_packing": True, "attn_implementation": "sdpa"}, ("T4",), ("L4", "MI300X")),
        ({"sample_packing": True, "attn_implementation": "sdpa", "bf16": False}, (), ("T4",)),
        ({"sample_packing": True}, (), ("T4",)),
    ],
    ids=str,
)
def test_a_card_without_the_kernels_does_not_run_whatever_its_memory(
    settings: dict[str, Any], refused: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    fits = {fit.gpu: fit for fit in estimated(**settings).fits}
    for name in refused:
        fit = fits[find_card(name).name]
        assert (fit.verdict, fit.fits, fit.failed_in) == ("does not run", False, None)
        assert fit.reason is not None
        assert fit.reason.endswith(".")
        assert fit.headroom_bytes < 0
    for name in taken:
        fit = fits[find_card(name).name]
        assert fit.fits, name
        assert fit.reason is None


def test_expandable_segments_leave_no_more_unused_than_fixed_ones_and_move_no_storage() -> None:
    recipe = recipe_of(adapter="qlora", load_in_4bit=True)
    fixed, expandable = (estimate_memory(recipe, llama_3_8b(), expandable_segments=on) for on in (False, True))
    assert expandable.peak_reserved_bytes < fixed.peak_reserved_bytes
    held = [
        {name: size for name, size in estimate.parts if name != "allocator rounding"}
        for estimate in (fixed, expandable)
    ]
    assert held[0] == held[1]


def test_each_of_several_gpus_holds_its_gradients_a_second_time() -> None:
    plans = (plan_parallel(count, {}) for count in (1, 4))
    alone, together = (estimate_memory(recipe_of(lora_r=64), SMALL, parallel=plan) for plan in plans)
    gradients = dict(together.parts)["gradients"] - dict(alone.parts).get("gradients", 0)
    assert gradients == pytest.approx(dict(alone.parts)["adapter"], rel=0.01)
    assert any("4 GPUs" in sentence for sentence in together.assumptions)


def test_a_card_brings_its_own_kernels_workspaces_and_context() -> None:
    t4, h100 = find_card("T4"), next(find_card(c.name) for c in module.cards() if c.name.startswith("H100"))
    small, large = (estimate_memory(recipe_of(), SMALL, card=card) for card in (t4, h100))
    assert dict(large.parts)["workspaces"] == 64 << 20
    assert small.process_bytes - small.peak_reserved_bytes == t4.context_bytes
    assert any("emulates" in sentence for sentence in small.assumptions)
    assert not any("emulates" in sentence for sentence in large.assumptions)
    assert "bfloat16" in large.assumptions[0]


def test_settings_that_move_no_byte_do_not_trace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = estimated(learning_rate=0.0001)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr(module, "run_of", forbidden)
    assert estimated(learning_rate=0.001, warmup_steps=5, seed=3) is first


def test_estimates_can_be_asked_for_from_several_threads_at_once() -> None:
    ranks = [3, 5, 7, 9]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda rank: estimated(lora_r=rank, sequence_len=96), ranks))
    module._estimate.cache_clear()
    assert together == [estimated(lora_r=rank, sequence_len=96) for rank in ranks]


def test_bad_settings_are_refused_at_the_setting_before_anything_is_traced() -> None:
    with pytest.raises(InvalidSettings) as refusal:
        estimated(lora_r=0)
    assert refusal.value.findings[0].setting == "lora_r"


def test_targets_that_match_nothing_are_refused_in_a_sentence() -> None:
    with pytest.raises(ExplorerError):
        estimated(lora_target_linear=None, lora_target_modules=["c_attn"])


def test_an_optimizer_without_known_states_is_refused_at_its_setting() -> None:
    with pytest.raises(MemoryUnknown) as refusal:
        estimated(optimizer="polora")
    assert refusal.value.findings[0].setting == "optimizer"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "paged_adamw_8bit"}, "paged"),
        ({"load_in_8bit": True}, "outlier"),
        ({"gradient_checkpointing": "offload"}, "host memory"),
        ({"chunked_cross_entropy": True}, "chunked"),
        ({"attn_implementation": "eager"}, "eager"),
    ],
)
def test_what_is_taken_for_granted_is_said(settings: dict[str, Any], words: str) -> None:
    assert any(words in sentence for sentence in estimated(**settings).assumptions)


def test_more_tokens_than_any_tensor_can_hold_are_refused_at_the_setting() -> None:
    with pytest.raises(MemoryUnknown, match="tokens at once") as refusal:
        estimated(sequence_len=4_000_000, micro_batch_size=4096)
    assert [finding.setting for finding in refusal.value.findings] == ["sequence_len"]


@pytest.mark.parametrize("quantized", [{"gptq": True}, {"model_quantization_config": "Mxfp4Config"}])
def test_a_quantization_that_is_not_modelled_is_said(quantized: dict[str, Any]) -> None:
    said = "The checkpoint's own quantization is not modelled"
    assert any(sentence.startswith(said) for sentence in estimated(**quantized).assumptions)
    assert not any(sentence.startswith(said) for sentence in estimated().assumptions)


def test_gradients_of_earlier_micro_batches_stay_while_the_next_one_runs() -> None:
    once, again = (estimated(gradient_accumulation_steps=steps, optimizer="sgd") for steps in (1, 4))
    gradients = plan_adapter(recipe_of(), skeleton_of(LLAMA)).trainable_params * 4
    more = again.peak_forward_bytes - once.peak_forward_bytes
    # The allocator rounds each of them up to 512 bytes.
    assert gradients <= more <= gradients * 1.05
    assert 0 < again.peak_backward_bytes - once.peak_backward_bytes <= more


def test_micro_batches_that_wait_for_their_turn_are_on_the_card_already() -> None:
    two, five = (estimated(gradient_accumulation_steps=steps, sequence_len=512) for steps in (2, 5))
    # Three more, each with ids, labels and mask.
    assert five.peak_allocated_bytes - two.peak_allocated_bytes == 3 * 3 * 512 * 8
