"""What single switches would save, each of them traced as the recipe itself is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    """What a switch brings the run down to. changes: all settings that change. saved_bytes: of the process.

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
) -> Iterator[Saving | None]:
    """One entry for each switch, as soon as it is traced; None for one that saves nothing.

    None too for one that Axolotl or PEFT would refuse, or that cannot be traced. Raises what `estimate` raises for the
    recipe itself.
    """
    before = estimate(recipe, base_model, card=card, expandable_segments=expandable_segments)
    for switch in switches(recipe, base_model, expandable_segments=expandable_segments):
        expandable = expandable_segments or switch.setting == ALLOCATOR
        try:
            changed = _changed(recipe, switch)
            after = estimate(changed, base_model, card=card, expandable_segments=expandable) if changed else before
        except ExplorerError:
            # What cannot be had is no way to save.
            after = before
        yield _saving(switch, before, after, makes_fit=_fits(after, card) and not _fits(before, card))


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
    return card is not None and any(fit.fits for fit in estimate.fits if fit.gpu == card.name)


def _saving(switch: Switch, before: MemoryEstimate, after: MemoryEstimate, *, makes_fit: bool) -> Saving | None:
    saved_bytes = before.process_bytes - after.process_bytes
    if saved_bytes <= 0 and not makes_fit:
        return None
    return Saving(switch.setting, switch.value, switch.changes, after.peak_reserved_bytes, saved_bytes, makes_fit)
