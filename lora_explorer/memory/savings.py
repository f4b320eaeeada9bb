"""What single switches would save, each of them traced as the recipe itself is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lora_explorer.errors import ExplorerError
from lora_explorer.memory.cards import Card
from lora_explorer.memory.result import MemoryEstimate
from lora_explorer.memory.switches import ALLOCATOR, Switch, switches
from lora_explorer.settings import Recipe, errors_among, find_problems

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel


class Estimate(Protocol):
    """Who estimates; called as `estimate_memory` is."""

    def __call__(
        self, recipe: Recipe, base_model: BaseModel, *, card: Card | None, expandable_segments: bool
    ) -> MemoryEstimate: ...


@dataclass(frozen=True)
class Saving:
    """What a switch brings the run down to. changes: all settings that change.

    saved_bytes: of the process, on the chosen card where there is one.
    makes_fit: the run does not fit on the chosen card, or does not run there, and does both after this change; then it
    may save nothing of the peak on a card without a limit.
    """

    setting: str
    value: Any
    changes: Mapping[str, Any]
    peak_reserved_bytes: int
    saved_bytes: int
    makes_fit: bool = False


def find_savings(
    recipe: Recipe,
    base_model: BaseModel,
    estimate: Estimate,
    *,
    card: Card | None = None,
    expandable_segments: bool = True,
    among: Callable[[Switch], bool] = lambda switch: True,
) -> Iterator[Saving | None]:
    """One entry for each switch, as soon as it is traced; None for one that saves nothing.

    among: which switches are tried.

    None too for one that Axolotl or PEFT would refuse, or that cannot be traced. Raises what `estimate` raises for the
    recipe itself.
    """
    before = estimate(recipe, base_model, card=card, expandable_segments=expandable_segments)
    for switch in filter(among, switches(recipe, base_model, expandable_segments=expandable_segments)):
        expandable = expandable_segments or switch.setting == ALLOCATOR
        try:
            changed = _changed(recipe, switch)
            after = estimate(changed, base_model, card=card, expandable_segments=expandable) if changed else before
        except ExplorerError:
            # What cannot be had is no way to save.
            after = before
        yield _saving(switch, (before, after), card)


def largest_first(savings: Iterable[Saving | None]) -> tuple[Saving, ...]:
    """The savings among the entries: those that make the run fit, then the others, each the largest first.

    Of values of one setting that save the same, the first.
    """
    found: dict[tuple[str, int], Saving] = {}
    for saving in savings:
        if saving is not None:
            found.setdefault((saving.setting, saving.saved_bytes), saving)
    return tuple(sorted(found.values(), key=lambda saving: (not saving.makes_fit, -saving.saved_bytes)))


def _changed(recipe: Recipe, switch: Switch) -> Recipe | None:
    changed = recipe.changed(**switch.changes)
    return None if errors_among(find_problems(changed)) else changed


def _fits(estimate: MemoryEstimate, card: Card | None) -> bool:
    """Whether the chosen card holds the run."""
    fit = estimate.fit_on(card.name) if card else None
    return fit is not None and fit.fits


def _saving(switch: Switch, before_after: tuple[MemoryEstimate, MemoryEstimate], card: Card | None) -> Saving | None:
    before, after = before_after
    makes_fit = _fits(after, card) and not _fits(before, card)
    saved_bytes = shown_bytes(before, card) - shown_bytes(after, card)
    if saved_bytes <= 0 and not makes_fit:
        return None
    return Saving(switch.setting, switch.value, switch.changes, after.peak_reserved_bytes, saved_bytes, makes_fit)


def shown_bytes(estimate: MemoryEstimate, card: Card | None) -> int:
    """What the process holds on the card, so that a saving is what the number on screen falls by."""
    return estimate.process_bytes_on(estimate.fit_on(card.name) if card else None)
