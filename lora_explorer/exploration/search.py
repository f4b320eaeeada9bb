"""The largest batch, length and rank that a card holds, found by search over the prediction itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import InvalidSettings
from lora_explorer.exploration.prediction import Prediction, Question, predict
from lora_explorer.exploration.sweep import Ask
from lora_explorer.memory import Card, CardFit
from lora_explorer.settings import SETTINGS, Recipe

SEARCHED = ("micro_batch_size", "sequence_len", "lora_r")
# Lengths are searched in whole tiles of attention kernels, as the page's slider moves.
_STEPS = {name: int(SETTINGS[name].control.step or 1) for name in SEARCHED}
# Twice the halvings that the widest bounds take, and then some; a search ends long before.
MOST_ESTIMATES = 64


@dataclass(frozen=True)
class Largest:
    """The largest value of a setting that fits, with all else as it is.

    value: None where not even the smallest fits. sure_value: the largest with more to spare than predictions have been
    too low by. step: what the search moves by: value + step does not fit, or is not allowed. fit: the verdict at the
    value, or at the smallest one tried where none fits. beyond: what forbids more, where it is not the memory.
    estimates: how many predictions that took.
    """

    setting: str
    now: int
    value: int | None
    sure_value: int | None
    step: int
    fit: CardFit | None
    beyond: str
    estimates: int


def find_all_largest(
    recipe: Recipe, base_model: BaseModel, card: Card, *, expandable_segments: bool = True, ask: Ask = predict
) -> Iterator[Largest]:
    """One answer for each of batch, length and rank, as soon as it is found."""
    question = Question(recipe, base_model, (card,), expandable_segments)
    for setting in SEARCHED:
        if setting != "lora_r" or recipe.adapter:
            yield find_largest(setting, question, ask)


def find_largest(setting: str, question: Question, ask: Ask = predict) -> Largest:
    """Search one setting. The question's first card is the one that has to hold it; UnknownBaseModel is raised."""
    ladder = _Ladder(setting, question, ask)
    now = getattr(question.recipe, setting) or 1
    start = min(max(now // ladder.step, 1), ladder.most)
    number = _largest_number(ladder, start, ladder.fits)
    sure = _largest_number(ladder, min(start, number), ladder.surely_fits) if number else 0
    return Largest(
        setting,
        now,
        value=number * ladder.step or None,
        sure_value=sure * ladder.step or None,
        step=ladder.step,
        fit=ladder.fit(number or min(ladder.known)),
        beyond=ladder.at(number + 1).problem if number < ladder.most else "",
        estimates=len(ladder.known),
    )


@dataclass
class _Ladder:
    """The values of a setting as whole multiples of its step, each asked for once."""

    setting: str
    question: Question
    ask: Ask
    known: dict[int, Prediction] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return _STEPS[self.setting]

    @property
    def most(self) -> int:
        """The last multiple that the setting's bounds allow."""
        return int(SETTINGS[self.setting].maximum or 0) // self.step

    @property
    def is_spent(self) -> bool:
        return len(self.known) >= MOST_ESTIMATES

    def at(self, number: int) -> Prediction:
        if number not in self.known:
            self.known[number] = self._predicted(number * self.step)
        return self.known[number]

    def fits(self, number: int) -> bool:
        fit = self.fit(number)
        return fit is not None and fit.fits

    def surely_fits(self, number: int) -> bool:
        fit = self.fit(number)
        return fit is not None and fit.verdict == "fits"

    def fit(self, number: int) -> CardFit | None:
        return self.at(number).fit_on(self.question.cards[0].name)

    def _predicted(self, value: int) -> Prediction:
        try:
            recipe = self.question.recipe.changed(**{self.setting: value})
        except InvalidSettings as error:
            return Prediction(problem=error.findings[0].message, setting=error.findings[0].setting)
        return self.ask(self.question._replace(recipe=recipe))

    def beyond(self, low: int, stride: int) -> int:
        """The next guess above a number that fits: where the headroom should run out, as the last two have it."""
        below = max((number for number in self.known if number < low and self.fits(number)), default=0)
        crossing = self._crossing(below, low) if below else None
        return min(max(low + 1, crossing or low + stride), self.most)

    def inside(self, low: int, high: int) -> int:
        """The next guess between one that fits and one that does not; every other time the middle."""
        crossing = self._crossing(low, high) if low and len(self.known) % 2 else None
        return min(max(low + 1, crossing or (low + high) // 2), high - 1)

    def _crossing(self, low: int, high: int) -> int | None:
        """Where the headroom runs out on the straight line through two numbers; None where it does not fall."""
        first, last = self.fit(low), self.fit(high)
        if first is None or last is None or first.headroom_bytes <= last.headroom_bytes:
            return None
        slope = (first.headroom_bytes - last.headroom_bytes) / (high - low)
        return low + int(first.headroom_bytes / slope)


def _largest_number(ladder: _Ladder, start: int, holds: Callable[[int], bool]) -> int:
    """0 where it does not hold for 1. What comes after it was asked for too, and the one behind that."""
    low, high = (start, None) if holds(start) else (0, start)
    stride = start
    while not ladder.is_spent:
        if high is None:
            if low >= ladder.most:
                return low
            guess, stride = ladder.beyond(low, stride), 2 * stride
        elif high - low > 1:
            guess = ladder.inside(low, high)
        elif high < ladder.most and holds(high + 1):
            low, high, stride = high + 1, None, 1
            continue
        else:
            return low
        if holds(guess):
            low = guess
        else:
            high = guess
    return low
