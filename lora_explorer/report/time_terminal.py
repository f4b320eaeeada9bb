"""Time and price for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import speed_words
from lora_explorer.report.terminal import show, show_table
from lora_explorer.speed.expectation import error_words
from lora_explorer.speed.measured_error import OF_KNOWN_CARDS, OF_OTHER_CARDS

if TYPE_CHECKING:
    from lora_explorer.speed import SpeedEstimate
    from lora_explorer.speed.on_cards import CardTime


def show_times(times: Sequence[CardTime]) -> None:
    """One line for each card; hours and price where the run's length is known; what one card spends its time on."""
    columns = ("Card", "Tokens a second", "A step", "The run", "It costs", "Known by")
    show_table("How long does it take?", columns, [_line(time) for time in times])
    if times[0].run is not None:
        show(speed_words.run_sentence(times[0].run))
    if len(times) == 1:
        _show_one(times[0].speed)
    for sentence in _sentences(times):
        show(sentence)


def _line(time: CardTime) -> tuple[str, ...]:
    speed, run = time.speed, time.run
    taken = speed_words.seconds(run.seconds) if run else ""
    cost = speed_words.dollars(run.dollars) if run and run.dollars else ""
    return (
        speed.gpu,
        speed_words.tokens_per_second(speed.tokens_per_second),
        speed_words.seconds(speed.step_seconds),
        taken,
        cost,
        speed_words.origin(speed),
    )


def _show_one(speed: SpeedEstimate) -> None:
    whole = sum(speed.stages.values())
    shares = [(name, f"{100 * taken / whole:.0f} %") for name, taken in (*speed.stages.items(), *speed.kinds.items())]
    show_table("What does a step's time go into?", ("", ""), shares)
    show(speed_words.work_sentence(speed))
    show(speed_words.limit_sentence(speed))


def _sentences(times: Sequence[CardTime]) -> Iterator[str]:
    """Of one card all that is assumed; of several what they have in common."""
    if len(times) == 1:
        yield times[0].speed.based_on
    else:
        yield from (error_words(error) for error in (OF_KNOWN_CARDS, OF_OTHER_CARDS))
    prices = (time.run.price for time in times if time.run is not None and time.run.price is not None)
    yield from dict.fromkeys(speed_words.price_sentence(price) for price in prices)
    first, *others = [(time.run or time.speed).assumptions for time in times]
    yield from (sentence for sentence in first if all(sentence in other for other in others))
