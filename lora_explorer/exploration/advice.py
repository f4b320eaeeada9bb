"""What to change when a run does not fit, or to save memory when it does: traced, priced and ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import ExplorerError
from lora_explorer.exploration.costs import LEVELS, Cost, cost_of
from lora_explorer.exploration.pace import Pace, pace_of
from lora_explorer.memory import Card, MemoryEstimate, estimate_memory
from lora_explorer.memory.savings import Estimate, Saving, find_savings, shown_bytes
from lora_explorer.memory.switches import ALLOCATOR, Switch
from lora_explorer.settings import Recipe

MOST_STEPS = 5

TellPace = Callable[[Recipe, BaseModel, "Card | None"], "Pace | None"]
"""Who tells the speed: `pace_of` itself, or another process that is asked to."""


class Situation(NamedTuple):
    """What is to be helped. estimate: who estimates, with verdicts for the given card. pace: who tells the speed."""

    recipe: Recipe
    base_model: BaseModel
    card: Card | None
    expandable_segments: bool = True
    estimate: Estimate = partial(estimate_memory, every_card=False)
    pace: TellPace = pace_of

    def estimated(self) -> MemoryEstimate:
        """Raises what the estimate raises."""
        return self.estimate(self.recipe, self.base_model, card=self.card, expandable_segments=self.expandable_segments)

    def after(self, saving: Saving) -> Situation:
        """With one change made."""
        expandable = self.expandable_segments or saving.setting == ALLOCATOR
        return self._replace(recipe=self.recipe.changed(**saving.changes), expandable_segments=expandable)

    @property
    def fits(self) -> bool:
        """Whether the card holds it. Raises what the estimate raises."""
        fit = self.estimated().fit_on(self.card.name) if self.card else None
        return fit is not None and fit.fits


@dataclass(frozen=True)
class Step:
    """One change. speed_factor: tokens a second after it over those before, as expected; None where unknown."""

    saving: Saving
    cost: Cost
    speed_factor: float | None = None


@dataclass(frozen=True)
class Advice:
    """One change, or several that only together are enough, each traced after those before it.

    makes_fit: the run does not fit on the card, and does once all of them are made.
    """

    steps: tuple[Step, ...]
    makes_fit: bool

    @property
    def saved_bytes(self) -> int:
        """What the process holds less than before."""
        return sum(step.saving.saved_bytes for step in self.steps)

    @property
    def changes(self) -> Mapping[str, Any]:
        """All settings to change, by field name, as the last step that names them has them."""
        return {name: value for step in self.steps for name, value in step.saving.changes.items()}

    @property
    def expands_segments(self) -> bool:
        """Whether the allocator's environment variable changes too."""
        return any(step.saving.setting == ALLOCATOR for step in self.steps)

    @property
    def cost_rank(self) -> int:
        """Of the dearest of its steps."""
        return max(step.cost.rank for step in self.steps)

    @property
    def speed_factor(self) -> float | None:
        """Of all steps together; None where that of one is unknown."""
        factors = [step.speed_factor for step in self.steps if step.speed_factor is not None]
        return math.prod(factors) if len(factors) == len(self.steps) else None


def find_advice(situation: Situation) -> Iterator[Advice | None]:
    """One entry for each single change, as soon as it is traced; None for one that saves nothing.

    Raises what the estimate raises for the recipe itself.
    """
    pace = _pace(situation)
    for saving in _savings(situation, len(LEVELS)):
        yield None if saving is None else Advice((_step(situation, saving, pace),), saving.makes_fit)


def rank_advice(advice: Iterable[Advice | None]) -> tuple[Advice, ...]:
    """What makes the run fit comes first: what costs least on top, of that the fastest; then what saves most.

    Of values of one setting that save the same, the first.
    """
    found: dict[tuple[str, int], Advice] = {}
    for each in advice:
        if each is not None:
            found.setdefault((each.steps[0].saving.setting, each.saved_bytes), each)
    return tuple(sorted(found.values(), key=_order))


def _order(advice: Advice) -> tuple[float, ...]:
    if not advice.makes_fit:
        return 1, -advice.saved_bytes
    return 0, advice.cost_rank, -round(advice.speed_factor or 1.0, 2), -advice.saved_bytes


def find_combination(situation: Situation) -> Advice | None:
    """The cheapest few changes that together make the run fit, where no single one does; None if none are found.

    Greedy: changes that cost nothing are tried first, then those that cost time, precision and what is learned; the
    largest saving is taken each time, and what turns out not to be needed is left out again. Raises what the estimate
    raises for the recipe itself.
    """
    if not _greedy(situation, len(LEVELS)):
        return None
    for most in range(1, len(LEVELS) + 1):
        savings = _greedy(situation, most)
        if savings:
            needed = _needed(situation, savings)
            return Advice(tuple(_stepped(situation, needed)), makes_fit=True)
    return None


def _greedy(situation: Situation, most: int) -> list[Saving]:
    """Changes, of costs below a rank, that are enough one after the other; none if they are not."""
    taken: list[Saving] = []
    for _ in range(MOST_STEPS):
        offered = [saving for saving in _savings(situation, most) if saving is not None]
        if not offered:
            return []
        best = min(offered, key=_preference)
        taken.append(best)
        if best.makes_fit:
            return taken
        situation = situation.after(best)
    return []


def _preference(saving: Saving) -> tuple[float, ...]:
    return not saving.makes_fit, saving.makes_fit and cost_of(saving.setting, saving.value).rank, -saving.saved_bytes


def _needed(situation: Situation, savings: list[Saving]) -> list[Saving]:
    """Without those that the later ones make superfluous."""
    for saving in savings[:-1]:
        others = [each for each in savings if each is not saving]
        if _is_enough(situation, others):
            return _needed(situation, others)
    return savings


def _is_enough(situation: Situation, savings: Sequence[Saving]) -> bool:
    try:
        for saving in savings:
            situation = situation.after(saving)
        return situation.fits
    except ExplorerError:
        return False


def _stepped(situation: Situation, savings: Sequence[Saving]) -> Iterator[Step]:
    """Each change with what it saves after those before it."""
    for saving in savings:
        after = situation.after(saving)
        yield _step(situation, _between(situation, after, saving), _pace(situation))
        situation = after


def _between(before: Situation, after: Situation, saving: Saving) -> Saving:
    """The same change as it counts between two situations."""
    estimates, card = (before.estimated(), after.estimated()), before.card
    saved_bytes = shown_bytes(estimates[0], card) - shown_bytes(estimates[1], card)
    makes_fit = after.fits and not before.fits
    return replace(
        saving, saved_bytes=saved_bytes, peak_reserved_bytes=estimates[1].peak_reserved_bytes, makes_fit=makes_fit
    )


def _savings(situation: Situation, most: int) -> Iterator[Saving | None]:
    """Single changes of costs below a rank."""

    def is_cheap(switch: Switch) -> bool:
        return cost_of(switch.setting, switch.value).rank < most

    recipe, base_model, card, expandable, estimate, _ = situation
    return find_savings(recipe, base_model, estimate, card=card, expandable_segments=expandable, among=is_cheap)


def _step(situation: Situation, saving: Saving, pace: Pace | None) -> Step:
    """pace: before the change."""
    after = _pace(situation.after(saving)) if pace is not None else None
    factor = after.expected / pace.expected if pace is not None and after is not None else None
    return Step(saving, cost_of(saving.setting, saving.value), factor)


def _pace(situation: Situation) -> Pace | None:
    return situation.pace(situation.recipe, situation.base_model, situation.card)
