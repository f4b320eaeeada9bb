"""Advice, effects and searches in words, on buttons and as records: what is pressed is what was promised."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from lora_explorer.exploration.advice import Advice, Step
from lora_explorer.exploration.card_offers import CardOffer
from lora_explorer.exploration.costs import cost_of
from lora_explorer.exploration.effects import Effect, Effects
from lora_explorer.exploration.prediction import Prediction
from lora_explorer.exploration.search import Largest
from lora_explorer.memory import CardFit, find_card
from lora_explorer.memory.savings import Saving
from lora_explorer.report.advice import advice_list, largest_in_words, largest_list, offer_list, step_in_words
from lora_explorer.report.advice_terminal import show_advice, show_largest, show_offers, show_verdict
from lora_explorer.report.effects import NO_NEIGHBOURS, effects_table
from lora_explorer.report.exploration_records import advice_record, effects_record, largest_record, offer_record
from lora_explorer.speed import Price

GIB = 1 << 30
CARD = find_card("RTX 4090")
FITS = CardFit(CARD.name, 24 * GIB, True, 2 * GIB, "fits")


def step(setting: str, value: Any, saved_bytes: int, **changes: Any) -> Step:
    saving = Saving(setting, value, {setting: value, **changes}, GIB, saved_bytes)
    return Step(saving, cost_of(setting, value))


FOUR_BIT = step("load_in_4bit", True, 9 * GIB, adapter="qlora")
SHORTER = step("sequence_len", 1024, 2 * GIB)
DEARER = step("lora_dropout", 0, -GIB)
AGAIN = step("gradient_checkpointing", True, GIB)
FREE = step("cut_cross_entropy", True, GIB)
TOGETHER = Advice((FOUR_BIT, SHORTER), makes_fit=True)


def touches_in(shown: str) -> list[Any]:
    return [json.loads(unescape(found)) for found in re.findall(r'data-touches="([^"]*)"', shown)]


def test_a_step_says_what_it_is_paid_with_why_and_where_that_is_from() -> None:
    assert step_in_words(FOUR_BIT).startswith("costs precision: Base weights are rounded to 4 bits")
    assert step_in_words(FOUR_BIT).endswith("(Dettmers et al. 2023, QLoRA, arXiv 2305.14314)")
    assert step_in_words(SHORTER).startswith("changes what is learned")


def test_each_piece_of_advice_is_one_button_with_all_its_changes_and_the_sum_of_what_they_save() -> None:
    shown = advice_list([TOGETHER, Advice((DEARER,), makes_fit=False)])
    assert touches_in(shown) == [{"load_in_4bit": True, "adapter": "qlora", "sequence_len": 1024}, {"lora_dropout": 0}]
    assert re.findall(r'<b data-value="(-?\d+)">([^<]+)<', shown) == [
        (str(11 * GIB), "−11 GiB"), (str(-GIB), "+1 GiB")
    ]  # fmt: skip
    assert shown.count("makes it fit") == 1
    assert shown.count("advice-cost") == 3


def test_the_page_may_say_what_a_press_touches() -> None:
    assert touches_in(advice_list([TOGETHER], lambda each: {"steps": len(each.steps)})) == [{"steps": 2}]


def largest(value: int | None, sure: int | None, beyond: str = "") -> Largest:
    return Largest("micro_batch_size", 2, value, sure, 1, FITS if value else None, beyond, 9)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (largest(18, 18), "micro_batch_size: up to 18 (now 2)."),
        (largest(18, 15), "micro_batch_size: up to 18 (now 2); up to 15 with room to spare."),
        (largest(18, None), "micro_batch_size: up to 18 (now 2), but every value is tight."),
        (largest(1024, 1024, "The model has 1,024."), "micro_batch_size: up to 1,024 (now 2). The model has 1,024."),
        (largest(None, None), "micro_batch_size: not even 1 fits."),
    ],
    ids=str,
)
def test_the_largest_value_is_said_in_a_sentence(found: Largest, words: str) -> None:
    assert largest_in_words(found) == words


def test_only_a_value_that_fits_and_is_another_one_can_be_set() -> None:
    found = [largest(18, 18), largest(2, 2), largest(None, None)]
    assert touches_in(largest_list(found, lambda each: {each.setting: each.value})) == [{"micro_batch_size": 18}]
    assert "<button" not in largest_list(found)
    assert json.dumps([largest_record(each) for each in found])


def test_cards_are_listed_as_they_come_and_their_absence_is_a_sentence() -> None:
    offers = [CardOffer(CARD, FITS)] * 9
    assert offer_list(offers, most=8).count("<li") == 8
    assert "<p" not in offer_list(offers)
    assert "RTX 4090: fits, with 2.0 GiB to spare." in offer_list(offers)
    assert "None of the known cards holds this run alone." in offer_list([])
    assert offer_record(offers[0])["headroom_bytes"] == 2 * GIB


def test_a_card_with_a_price_says_what_it_costs_and_whose_price_that_is(capsys: pytest.CaptureFixture[str]) -> None:
    price = Price(0.34, "A cloud", "2026-03")
    priced, cheap = CardOffer(CARD, FITS, price), CardOffer(CARD, FITS, price, 0.0012)
    shown = offer_list([cheap, priced])
    assert "2.0 GiB to spare; $0.34 an hour.<" in shown
    assert "2.0 GiB to spare; $0.34 an hour, about $0.0012 a million tokens.<" in shown
    assert shown.count("Costs are at prices of 2026-03: A cloud.") == 1
    show_offers([cheap, priced])
    assert "prices of 2026-03: A cloud." in " ".join(capsys.readouterr().out.split())
    assert (offer_record(cheap)["usd_per_hour"], offer_record(cheap)["usd_per_million_tokens"]) == (0.34, 0.0012)
    assert offer_record(CardOffer(CARD, FITS))["usd_per_hour"] is None


@pytest.mark.parametrize(
    ("made", "factor", "words"),
    [
        (FOUR_BIT, 0.88, "costs precision, 12 % slower: "),
        (SHORTER, 1.03, "changes what is learned, 3 % faster: "),
        (SHORTER, 1.004, "changes what is learned, as fast: "),
        (FREE, 1.5, "costs nothing, 50 % faster: "),
        (FREE, 0.95, "costs time, 5 % slower: "),
        (AGAIN, 0.8, "costs time, 20 % slower: "),
        (AGAIN, 0.999, "costs little time, as fast: "),
        (AGAIN, None, "costs time: "),
        (FREE, None, "costs nothing: "),
    ],
    ids=str,
)
def test_a_step_says_what_it_does_to_the_speed(made: Step, factor: float | None, words: str) -> None:
    assert step_in_words(replace(made, speed_factor=factor)).startswith(words)


def test_a_terminal_shows_everything(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show_verdict(FITS)
    show_largest([largest(18, 15)])
    show_advice([Advice((FOUR_BIT,), makes_fit=False), Advice((DEARER,), makes_fit=False)], TOGETHER, fits=False)
    show_offers([CardOffer(CARD, FITS)] * 9)
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "RTX 4090: fits, with 2.0 GiB to spare.", "(9 predictions)", "up to 15 with room to spare", "−1 GiB",
        "load_in_4bit: true, adapter: qlora", "No single change is enough; these together are",
        "the cheapest first, of 9",
    ):  # fmt: skip
        assert words in shown
    show_advice([Advice((FOUR_BIT,), makes_fit=False)], None, fits=False)
    show_offers([])
    shown = " ".join(capsys.readouterr().out.split())
    assert "this run needs a larger card" in shown
    assert "None of the known cards" in shown


def test_a_record_of_advice_has_all_settings_to_set() -> None:
    record = advice_record(TOGETHER)
    assert record["changes"] == {"load_in_4bit": True, "adapter": "qlora", "sequence_len": 1024}
    assert record["saved_bytes"] == sum(each["saved_bytes"] for each in record["steps"]) == 11 * GIB
    assert all(each["source"] for each in record["steps"])


# What does this setting change?
HERE = Effect("now", {}, Prediction(1000, 4 << 20, 2.0, 10 * GIB))
EFFECTS = Effects(
    "lora_r",
    HERE,
    (
        Effect("4", {"lora_r": 4}, Prediction(500, 2 << 20, 4.0, 9 * GIB)),
        Effect("64", {"lora_r": 64}, Prediction(2000, 4 << 20, 2.0)),
        Effect("off", {"adapter": None}, Prediction(problem="<No>.", setting="adapter")),
    ),
)


def cells_of(row: str) -> list[str]:
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]


def test_each_neighbour_stands_beside_the_present_value_with_its_difference() -> None:
    head, here, half, twice, refused = map(cells_of, re.findall(r"<tr.*?</tr>", effects_table(EFFECTS)))
    assert head == ["", "Trainable", "Adapter file", "Scale", "Peak memory"]
    assert here[:2] == ["now", "1,000"]
    assert here[4] == "10.00 GiB"
    assert half == ["4", "500 (−500)", "−2 MiB", "4", "−1 GiB"]
    assert twice == ["64", "2,000 (+1 k)", "same", "same", "–"]
    assert refused == ["off", "&lt;No&gt;."]
    assert touches_in(effects_table(EFFECTS)) == [{"lora_r": 4}, {"lora_r": 64}, {"adapter": None}]


def test_memory_that_is_still_to_come_is_told_from_memory_that_is_unknown() -> None:
    assert "…" in effects_table(EFFECTS, waits=True)
    assert "…" not in effects_table(EFFECTS)
    unknown = Effects("optimizer", Effect("now", {}, Prediction(1, 1, 1.0, problem="Unknown.")), EFFECTS.others[:1])
    assert "…" not in effects_table(unknown, waits=True)


def test_a_setting_without_neighbours_says_so_and_records_hold_every_effect() -> None:
    assert NO_NEIGHBOURS in effects_table(Effects("seed", HERE, ()))
    record = effects_record(EFFECTS)
    assert [each["trainable_params"] for each in record["others"]] == [500, 2000, None]
    assert json.dumps(record)
