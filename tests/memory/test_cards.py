"""Cards: found by name, and what their architecture means for a run."""

from __future__ import annotations

import pytest

from lora_explorer.errors import ExplorerError
from lora_explorer.memory import cards, find_card
from lora_explorer.memory.cards import card_like


def test_a_card_is_found_by_its_name_in_any_case() -> None:
    assert find_card(" t4 ") is next(card for card in cards() if card.name == "T4")


def test_a_card_is_found_by_the_only_name_that_begins_so() -> None:
    assert find_card("h200").name == "H200 141GB"


def test_the_beginning_of_several_names_is_refused_with_those_names() -> None:
    with pytest.raises(ExplorerError, match=r"A100 40GB PCIe, A100 40GB SXM\.$"):
        find_card("A100 40")


def test_an_unknown_card_is_refused_with_the_names_that_are_known() -> None:
    with pytest.raises(ExplorerError, match=r"H9000.*T4"):
        find_card("H9000")


def test_every_card_keeps_room_beside_its_context() -> None:
    assert all(0 < card.capacity_bytes < card.memory_bytes for card in cards())


def test_workspaces_are_those_of_torch_for_each_architecture() -> None:
    mib = {card.architecture: card.workspace_bytes / 2**20 for card in cards()}
    assert {name for name, size in mib.items() if size == 8.125} == {"Pascal", "Volta", "Turing", "Ampere", "Ada"}
    assert {name for name, size in mib.items() if size == 32} == {"Hopper", "Blackwell", "CDNA 2"}
    assert mib["CDNA 3"] == 128


def test_cards_before_ampere_run_no_flash_attention_and_no_bfloat16() -> None:
    assert all(card.flash_attention is card.bf16 for card in cards())


def test_a_device_that_is_there_has_the_context_of_its_kind() -> None:
    device = card_like("Tesla T4", 15_600_000_000, (7, 5))
    assert (device.context_bytes, device.context_source) == (find_card("T4").context_bytes, "measured")
    assert not device.bf16
    assert device.workspace_bytes == find_card("T4").workspace_bytes


def test_a_device_of_an_unknown_kind_is_taken_with_the_usual_context() -> None:
    device = card_like("Some card", 8 << 30, (10, 3))
    assert (device.context_source, device.architecture) == ("assumed", "unknown")
    assert device.flash_attention
    assert device.workspace_bytes == 32 << 20
