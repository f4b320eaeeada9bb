"""Steps as Axolotl's trainer counts them, hours as long as these take, and a price for the hours."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lora_explorer.errors import ExplorerError
from lora_explorer.memory import find_card
from lora_explorer.speed import Price, Rows, RunEstimate, estimate_run
from lora_explorer.speed.on_cards import time_on_cards
from lora_explorer.speed.run_length import PACKED_SHARE, RunLength, run_length

from .models import a100, llama, recipe_of


def length(rows: Rows | None, **settings: Any) -> RunLength:
    return run_length(recipe_of(**{"micro_batch_size": 4, "gradient_accumulation_steps": 2, **settings}), rows)


def run_of(rows: Rows | None, price: Price | None = None, **settings: Any) -> RunEstimate:
    return estimate_run(recipe_of(**settings), llama(), card=a100(), rows=rows, price=price)


def test_a_step_takes_as_many_rows_as_the_effective_batch() -> None:
    assert length(Rows(800)).steps == 100
    # What is left over is a step of its own.
    assert length(Rows(801)).steps == 101
    assert length(Rows(3)).steps == 1


def test_epochs_multiply_steps_and_may_be_parts() -> None:
    assert length(Rows(800), num_epochs=3).steps == 300
    assert length(Rows(800), num_epochs=0.255).steps == 26
    assert length(Rows(800), num_epochs=3).steps_per_epoch == 100


def test_max_steps_ends_the_run_whatever_the_epochs_say() -> None:
    found = length(Rows(800), num_epochs=3, max_steps=7)
    assert (found.steps, found.steps_per_epoch, found.capped) == (7, 100, True)
    assert not length(Rows(800), max_steps=-1).capped


def test_a_run_that_max_steps_ends_needs_no_rows() -> None:
    found = length(None, max_steps=7)
    assert (found.steps, found.steps_per_epoch) == (7, None)
    with pytest.raises(ExplorerError, match="say how many, or set max_steps"):
        length(None)


@pytest.mark.parametrize(("kept", "trained"), [(0.0, 1000), (0.05, 950), (0.0001, 999), (100, 900)])
def test_rows_kept_aside_are_not_trained_on(kept: float, trained: int) -> None:
    assert Rows(1000, val_set_size=kept).trained == trained


def test_packed_rows_hold_many_documents() -> None:
    found = length(Rows(10_000, tokens=256), sample_packing=True)
    filled = math.ceil(10_000 * 256 / (2048 * PACKED_SHARE))
    assert found.steps == math.ceil(math.ceil(filled / 4) / 2)
    assert (found.row_tokens, found.document_tokens) == (2048, 256)


def test_rows_longer_than_the_sequence_are_cut() -> None:
    found = length(Rows(80, tokens=9000))
    assert found.row_tokens == 2048
    assert "Rows are cut to 2,048 tokens." in found.assumptions


@pytest.mark.parametrize(
    ("settings", "tokens"), [({}, 320), ({"pad_to_sequence_len": True}, 2048), ({"pad_to_sequence_len": False}, 300)]
)
def test_unpacked_rows_are_padded_as_the_collator_does(settings: dict[str, Any], tokens: int) -> None:
    assert length(Rows(80, tokens=300), **settings).row_tokens == tokens


@pytest.mark.parametrize(
    ("rows", "setting"),
    [
        (Rows(0), "rows"),
        (Rows(10, tokens=0), "tokens_per_row"),
        (Rows(10, val_set_size=1.0), "val_set_size"),
        (Rows(10, val_set_size=10.0), "val_set_size"),
        (Rows(10, val_set_size=-0.1), "val_set_size"),
    ],
)
def test_rows_that_nothing_can_be_trained_on_are_refused_in_one_sentence(rows: Rows, setting: str) -> None:
    with pytest.raises(ExplorerError) as refused:
        length(rows)
    (finding,) = refused.value.findings
    assert finding.setting == setting
    assert finding.message.endswith(".")


def test_a_run_takes_its_steps_and_costs_its_hours() -> None:
    run = run_of(Rows(800), Price(3.6, "a cloud", "2026-01"))
    assert run.steps == 100
    assert run.seconds == run.speed.step_seconds.times(100)
    assert run.dollars == pytest.approx(run.seconds.times(0.001))
    assert run.trained_tokens == 100 * run.speed.tokens_per_step
    assert run_of(Rows(800)).dollars is None


def test_short_rows_make_short_steps() -> None:
    short, full = run_of(Rows(800, tokens=512)), run_of(Rows(800, tokens=2048))
    assert short.steps == full.steps
    assert short.seconds.high < full.seconds.low
    assert any("as long as the average one, 512 tokens" in sentence for sentence in short.assumptions)


def test_packing_takes_less_time_than_padding() -> None:
    rows = Rows(2000, tokens=200)
    attention = {"attn_implementation": "flash_attention_2"}
    packed, padded = (
        run_of(rows, **attention, **settings) for settings in ({"sample_packing": True}, {"pad_to_sequence_len": True})
    )
    assert packed.seconds.high < padded.seconds.low


def test_every_card_that_holds_the_run_is_timed_at_its_own_price() -> None:
    times = time_on_cards(recipe_of(), llama(), rows=Rows(800))
    assert len(times) > 40
    assert all(time.fit.fits and time.fit.gpu == time.speed.gpu for time in times)
    priced = {time.fit.gpu: time.run.price for time in times if time.run and time.run.price}
    assert priced["RTX 4090"] != priced["H100 80GB SXM"]
    assert all(time.run is None for time in time_on_cards(recipe_of(), llama()))


def test_a_card_that_is_asked_for_is_timed_whether_it_holds_the_run_or_not() -> None:
    (time,) = time_on_cards(recipe_of(micro_batch_size=64), llama(), card=find_card("RTX 3070"))
    assert not time.fit.fits
    assert time.speed.gpu == "RTX 3070"


def test_a_typed_price_holds_for_every_card() -> None:
    typed = Price(1.0, "typed", "")
    times = time_on_cards(recipe_of(), llama(), rows=Rows(800), price=typed)
    assert {time.run.price for time in times if time.run} == {typed}
