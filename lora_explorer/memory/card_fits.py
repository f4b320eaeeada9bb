"""Every card's verdict: what becomes of the run as that card runs it, replayed with that card's capacity."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.cards import Card
from lora_explorer.memory.measured_error import spare_bytes_to_be_sure
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.replay.timeline import Replay, Verdict, replay_on_devices
from lora_explorer.memory.result import CardFit, Stretch
from lora_explorer.memory.result import Verdict as CardVerdict
from lora_explorer.memory.tracing.events import Timeline
from lora_explorer.memory.watching.trace import Segment

# What is missing is told to a hundredth of the need: predictions are not better than that.
_NEED_STEPS = 100
_MOST_TRIED = 3
# Of what is alive; a little less than all, for blocks of a full card are cut a little differently.
_HOPELESS = 0.98


class CardKind(NamedTuple):
    """Cards of one kind go through the same, but for their capacity."""

    step: Step
    workspace_bytes: int


class Played(NamedTuple):
    """A run as one kind of card goes through it. replayed: on a card that is never full."""

    timeline: Timeline
    replayed: Replay
    num_layers: int


class Bench(NamedTuple):
    """How cards are tried. kind_of, refusal: of a card; play: for a kind, raises MemoryUnknown."""

    kind_of: Callable[[Card], CardKind]
    refusal: Callable[[Card], str | None]
    play: Callable[[CardKind], Played]
    expandable_segments: bool


def card_fits(cards: Sequence[Card], bench: Bench) -> tuple[CardFit, ...]:
    """One verdict for each card, in their order; it does not hang on which of them was chosen."""
    refused = {card.name: reason for card in cards if (reason := bench.refusal(card)) is not None}
    alike: dict[Step, dict[int, list[Card]]] = defaultdict(lambda: defaultdict(list))
    for card in cards:
        if card.name not in refused:
            kind = bench.kind_of(card)
            alike[kind.step][kind.workspace_bytes].append(card)
    found: dict[str, CardFit] = {}
    for step, by_workspace in alike.items():
        try:
            found |= {fit.gpu: fit for fit in _of_one_step(step, by_workspace, bench)}
        except MemoryUnknown as error:
            refused |= {card.name: str(error) for group in by_workspace.values() for card in group}
    least = min((fit.process_bytes for fit in found.values() if fit.process_bytes is not None), default=1)
    return tuple(found.get(card.name) or _not_run(card, refused[card.name], least) for card in cards)


def _not_run(card: Card, reason: str, least_bytes: int) -> CardFit:
    # None of its memory is of use, so all is missing that the run takes where it runs.
    return CardFit(card.name, card.memory_bytes, False, -least_bytes, "does not run", reason=reason)


class _Need(NamedTuple):
    """endless_bytes: reserved on a card that is never full. spare_bytes: asks how much of it the run can do without."""

    endless_bytes: int
    spare_bytes: Callable[[], int]


def _of_one_step(step: Step, by_workspace: Mapping[int, Sequence[Card]], bench: Bench) -> Iterator[CardFit]:
    smallest = min(by_workspace)
    first = bench.play(CardKind(step, smallest))
    endless_bytes = first.replayed.peak_reserved_bytes

    # What can be given back is no workspace: it is as much on every card that runs the step.
    @cache
    def spare_bytes() -> int:
        return endless_bytes - _least_bytes(first, expandable_segments=bench.expandable_segments)

    for workspace_bytes, cards in by_workspace.items():
        if all(_is_hopeless(card, first) for card in cards):
            # They cannot hold what is alive: of their own workspaces the size is enough, one each for two threads.
            more = 2 * (workspace_bytes - smallest)
            yield from _of_one_kind(cards, first, _Need(endless_bytes + more, spare_bytes), bench)
            continue
        played = first if workspace_bytes == smallest else bench.play(CardKind(step, workspace_bytes))
        yield from _of_one_kind(cards, played, _Need(played.replayed.peak_reserved_bytes, spare_bytes), bench)


def _of_one_kind(cards: Sequence[Card], played: Played, need: _Need, bench: Bench) -> Iterator[CardFit]:
    near = {card.capacity_bytes for card in cards if card.capacity_bytes < need.endless_bytes}
    near -= {card.capacity_bytes for card in cards if _is_hopeless(card, played)}
    outcomes = _outcomes(played, near, bench)
    for card in cards:
        outcome = outcomes.get(card.capacity_bytes)
        if card.capacity_bytes >= need.endless_bytes:
            yield _never_full(card, need.endless_bytes)
        elif outcome is not None and outcome.failed is None:
            yield _got_through(card, outcome)
        else:
            segment = outcome.failed if outcome and outcome.failed else _overflowing(card, played)
            where = Stretch(segment.phase, segment.place, segment.layer, played.num_layers)
            yield _too_small(card, where, need)


def _is_hopeless(card: Card, played: Played) -> bool:
    """Whether the card cannot even hold what is alive at once; no replay is needed to tell."""
    return card.capacity_bytes < played.replayed.peak_allocated_bytes * _HOPELESS


def _overflowing(card: Card, played: Played) -> Segment:
    """Where more is alive for the first time than the card can hold."""
    position = int(np.argmax(played.replayed.allocated_bytes > card.capacity_bytes))
    starts = [start for start, _ in played.timeline.marks]
    return played.timeline.marks[max(bisect_right(starts, position) - 1, 0)][1]


def _least_bytes(played: Played, *, expandable_segments: bool) -> int:
    """The least of a few capacities between what is alive and what is reserved with which the run goes through."""
    endless = played.replayed
    low, high = endless.peak_allocated_bytes, endless.peak_reserved_bytes
    count = min((high - low) * _NEED_STEPS // high, _MOST_TRIED)
    tried = [low + (high - low) * number // (count + 1) for number in range(1, count + 1)]
    outcomes = replay_on_devices(played.timeline, endless, tried, expandable_segments=expandable_segments)
    most = max((capacity for capacity, o in zip(tried, outcomes, strict=True) if o.failed is not None), default=-1)
    return next((capacity for capacity in tried if capacity > most), high)


def _outcomes(played: Played, capacities: Iterable[int], bench: Bench) -> Mapping[int, Verdict]:
    tried = sorted(capacities)
    if not tried:
        return {}
    endless, expandable = played.replayed, bench.expandable_segments
    outcomes = replay_on_devices(played.timeline, endless, tried, expandable_segments=expandable)
    return dict(zip(tried, outcomes, strict=True))


def _never_full(card: Card, endless_bytes: int) -> CardFit:
    """A card that is never full goes through the same as one without a limit."""
    headroom, process = card.capacity_bytes - endless_bytes, endless_bytes + card.context_bytes
    verdict: CardVerdict = "fits" if headroom >= spare_bytes_to_be_sure(process) else "tight"
    return CardFit(card.name, card.memory_bytes, True, headroom, verdict, process_bytes=process)


def _got_through(card: Card, outcome: Verdict) -> CardFit:
    process = outcome.peak_reserved_bytes + card.context_bytes
    return CardFit(card.name, card.memory_bytes, True, 0, "tight", gives_cache_back=True, process_bytes=process)


def _too_small(card: Card, where: Stretch, need: _Need) -> CardFit:
    # A replay may fail with a little more than the least of those that were tried.
    short = max(need.endless_bytes - need.spare_bytes() - card.capacity_bytes, 1)
    process = need.endless_bytes + card.context_bytes
    return CardFit(card.name, card.memory_bytes, False, -short, "does not fit", failed_in=where, process_bytes=process)
