"""Time, speed and price are told as ranges, to as many digits as they are known."""

from __future__ import annotations

import pytest

from lora_explorer.report import speed_words
from lora_explorer.speed import Price, Range


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0123, 0.0244, "0.0123 – 0.0244 s"),
        (3.52, 5.2, "3.52 – 5.2 s"),
        (80, 121, "80 – 121 s"),
        (3195.4, 4715.2, "53.3 – 78.6 min"),
        (6000, 9000, "1.67 – 2.5 h"),
        (400_000, 900_000, "4.63 – 10.4 days"),
    ],
)
def test_time_is_in_the_largest_unit_that_leaves_a_number_of_some_size(low: float, high: float, words: str) -> None:
    assert speed_words.seconds(Range(low, high)) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(92.94, 204.8, "92.9 – 205"), (3055.8, 4509.2, "3,060 – 4,510"), (123_456, 234_567, "123,000 – 235,000")],
)
def test_speed_has_three_digits_that_count(low: float, high: float, words: str) -> None:
    assert speed_words.tokens_per_second(Range(low, high)) == words


def test_costs_are_in_cents_and_say_whose_prices_they_are_at() -> None:
    assert speed_words.dollars(Range(1.2338, 1820.6)) == "$1.23 – $1,820.60"
    assert speed_words.dollars(Range(0.00123, 0.0182)) == "$0.0012 – $0.02"
    assert "2026-03: a cloud." in speed_words.price_sentence(Price(1.39, "a cloud", "2026-03"))
    assert speed_words.price_sentence(Price(0.3, "typed", "")) == "Costs are at $0.30 an hour, as typed."
