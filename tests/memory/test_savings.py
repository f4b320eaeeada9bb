"""What switches save: traced, not ruled; only what saves, and each as a change that Axolotl takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory import CardFit, MemoryEstimate, cards, estimate_memory
from lora_explorer.memory.savings import Saving, find_savings, largest_first
from lora_explorer.memory.switches import ALLOCATOR, switches
from lora_explorer.settings import errors_among, find_problems

from .models import LLAMA, model_of, recipe_of

WIDE = model_of({**LLAMA, "hidden_size": 256, "intermediate_size": 1024, "vocab_size": 32_000, "num_hidden_layers": 3})
WASTEFUL = {
    "attn_implementation": "eager",
    "micro_batch_size": 2,
    "sequence_len": 512,
    "lora_dropout": 0.1,
    "lora_modules_to_save": ["lm_head"],
    "optimizer": "adamw_torch",
    "peft_use_dora": True,
}


@pytest.fixture(scope="module")
def savings() -> tuple[Saving, ...]:
    return largest_first(find_savings(recipe_of(**WASTEFUL), WIDE, estimate_memory, expandable_segments=False))


def test_every_saving_is_the_difference_of_two_estimates(savings: tuple[Saving, ...]) -> None:
    recipe = recipe_of(**WASTEFUL)
    before = estimate_memory(recipe, WIDE, expandable_segments=False)
    for saving in savings:
        expandable = saving.setting == ALLOCATOR
        after = estimate_memory(recipe.changed(**saving.changes), WIDE, expandable_segments=expandable)
        assert saving.saved_bytes == before.process_bytes - after.process_bytes > 0
        assert saving.peak_reserved_bytes == after.peak_reserved_bytes


def test_the_largest_saving_comes_first_and_none_twice(savings: tuple[Saving, ...]) -> None:
    saved = [saving.saved_bytes for saving in savings]
    assert saved == sorted(saved, reverse=True)
    assert len({(saving.setting, saving.saved_bytes) for saving in savings}) == len(savings)


def test_what_is_wasteful_is_found(savings: tuple[Saving, ...]) -> None:
    found = {saving.setting for saving in savings}
    assert {"gradient_checkpointing", "attn_implementation", "lora_modules_to_save", "micro_batch_size"} <= found
    assert {"sequence_len", "liger_fused_linear_cross_entropy"} <= found


def test_half_the_rows_keep_the_effective_batch() -> None:
    recipe = recipe_of(micro_batch_size=4, gradient_accumulation_steps=3)
    (halved,) = (s for s in switches(recipe, WIDE, expandable_segments=True) if s.setting == "micro_batch_size")
    assert recipe.changed(**halved.changes).effective_batch_size == recipe.effective_batch_size


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"adapter": "qlora", "load_in_4bit": True, "bnb_config_kwargs": {"bnb_4bit_use_double_quant": False}},
        {"load_in_8bit": True},
        {"gradient_checkpointing": True, "eager_attention": True, "optimizer": "lion_32bit"},
        {"chunked_cross_entropy": True, "lora_mlp_kernel": False},
        {"plugins": ["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"], "bf16": False},
        {"adapter": None, "lora_target_linear": None, "lora_r": None, "lora_alpha": None},
    ],
    ids=str,
)
def test_every_switch_changes_its_setting_to_something_that_axolotl_takes(settings: dict[str, Any]) -> None:
    recipe = recipe_of(**settings)
    offered = list(switches(recipe, WIDE, expandable_segments=True))
    assert offered
    for switch in offered:
        changed = recipe.changed(**switch.changes)
        assert changed != recipe, switch
        assert not errors_among(find_problems(changed)), switch


def test_a_switch_that_is_on_is_not_offered_again() -> None:
    recipe = recipe_of(gradient_checkpointing=True, adapter="qlora", load_in_4bit=True, optimizer="paged_adamw_8bit")
    offered = {switch.setting for switch in switches(recipe, WIDE, expandable_segments=True)}
    assert not offered & {"gradient_checkpointing", "load_in_4bit", "load_in_8bit", "optimizer", ALLOCATOR}


def test_what_cannot_be_traced_is_left_out_and_the_rest_goes_on() -> None:
    recipe = recipe_of(sequence_len=512)

    def short_alone(changed: Any, *_: Any, **options: Any) -> MemoryEstimate:
        if changed.sequence_len == recipe.sequence_len and changed != recipe:
            raise MemoryUnknown("no")
        return estimate_memory(changed, WIDE, **options)

    found = list(find_savings(recipe, WIDE, short_alone))
    assert [saving.setting for saving in found if saving] == ["sequence_len"]
    assert len(found) == len(list(switches(recipe, WIDE, expandable_segments=True)))


def test_a_recipe_that_cannot_be_traced_says_so() -> None:
    def unknown(*_: Any, **__: Any) -> MemoryEstimate:
        raise MemoryUnknown("no")

    with pytest.raises(MemoryUnknown):
        list(find_savings(recipe_of(), WIDE, unknown))


def test_a_switch_that_makes_the_run_fit_comes_first_even_if_it_lowers_no_peak() -> None:
    recipe = recipe_of(sequence_len=512)
    card = cards()[0]

    def on_a_card(changed: Any, *_: Any, expandable_segments: bool, **options: Any) -> MemoryEstimate:
        if changed != recipe and changed.sequence_len == recipe.sequence_len:
            raise MemoryUnknown("no")
        estimate = estimate_memory(changed, WIDE, expandable_segments=False, **options)
        fit = CardFit(card.name, 1, expandable_segments, 0 if expandable_segments else -1, "tight")
        return replace(estimate, fits=(fit,))

    found = largest_first(find_savings(recipe, WIDE, on_a_card, card=card, expandable_segments=False))
    assert [(saving.setting, saving.makes_fit) for saving in found] == [(ALLOCATOR, True), ("sequence_len", False)]
    assert found[0].saved_bytes == 0 < found[1].saved_bytes
