"""A sweep on prediction: every combination of one or two axes, in the order in which they cost least."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from queue import SimpleQueue
from threading import Event
from typing import Any

from lora_explorer.base_models import Access, BaseModel
from lora_explorer.errors import ExplorerError, InvalidSettings, SweepRefused
from lora_explorer.exploration.axes import Axis, Choice, Here, read_axis
from lora_explorer.exploration.prediction import Prediction, Question, predict
from lora_explorer.memory import Card
from lora_explorer.settings import Recipe, errors_among, find_problems

MOST_POINTS = 1000
MOST_AXES = 2
_TRACES_OF_A_LAW = 3

Ask = Callable[[Question], Prediction]
"""Who predicts: `predict` itself, or another process that is asked to."""
At = tuple[int, ...]
"""Which choice of each axis."""


@dataclass(frozen=True)
class Sweep:
    """recipe, base_model: what is explored from, with all else as it is there. cards: as `Question` takes them."""

    recipe: Recipe
    base_model: BaseModel
    axes: tuple[Axis, ...]
    cards: tuple[Card, ...] = ()
    expandable_segments: bool = True

    @property
    def size(self) -> int:
        """How many points there are."""
        return math.prod(len(axis.choices) for axis in self.axes)

    @cached_property
    def places(self) -> tuple[At, ...]:
        """Every point, row by row."""
        return tuple(product(*(range(len(axis.choices)) for axis in self.axes)))

    def choices_at(self, at: At) -> tuple[Choice, ...]:
        return tuple(axis.choices[index] for axis, index in zip(self.axes, at, strict=True))

    def changes_at(self, at: At) -> Mapping[str, Any]:
        """What a point sets, whether or not it is so already."""
        return {name: value for choice in self.choices_at(at) for name, value in choice.changes.items()}

    def base_model_at(self, at: At) -> BaseModel:
        return next((choice.base_model for choice in self.choices_at(at) if choice.base_model), self.base_model)

    @cached_property
    def rows(self) -> tuple[tuple[At, ...], ...]:
        """Points whose estimates follow from each other by law, together.

        The smallest and the largest come first: between these the law of the sizes holds without another look.
        """
        alike: dict[Hashable, list[At]] = defaultdict(list)
        for at in self.places:
            alike[_family(self, at)].append(at)
        return tuple(_ends_first(sorted(row, key=partial(_extents, self))) for row in alike.values())

    @property
    def traces(self) -> int:
        """About how many steps have to be traced: what most of the time goes into."""
        return sum(min(len(row), _TRACES_OF_A_LAW) for row in self.rows)


@dataclass(frozen=True)
class SweepPoint:
    """at: which choice of each axis. changes: what makes it current."""

    at: At
    changes: Mapping[str, Any]
    prediction: Prediction


def plan_sweep(
    recipe: Recipe,
    base_model: BaseModel,
    over: Sequence[Axis | str],
    *,
    cards: tuple[Card, ...] = (),
    expandable_segments: bool = True,
    access: Access | None = None,
) -> Sweep:
    """A sweep that can be run. over: one or two axes, also as they are typed: `lora_r=4..256 x2`, `targets`.

    access: what a visitor may use where base models are an axis. Raises SweepRefused with one sentence, whose setting
    is the name of the axis at fault; UnknownBaseModel.
    """
    if not 1 <= len(over) <= MOST_AXES:
        raise SweepRefused(f"A sweep has one or two axes, not {len(over)}.")
    here = Here(recipe, base_model, access or Access())
    axes = [read_axis(axis, here) if isinstance(axis, str) else axis for axis in over]
    for first, second in pairwise(axes):
        shared = sorted(first.settings & second.settings)
        if shared:
            raise SweepRefused(f"Both axes set {shared[0]}; choose another second one.", setting=second.name)
    sweep = Sweep(recipe, base_model, tuple(axes), cards, expandable_segments)
    _refuse_more_than(MOST_POINTS, sweep)
    return sweep


def plan_in_order(*asked: Any, most_points: int = MOST_POINTS, **options: Any) -> Sweep:
    """As `plan_sweep`, with the order of the points worked out as well: for whoever plans in another process."""
    sweep = plan_sweep(*asked, **options)
    _refuse_more_than(most_points, sweep)
    # Looking at the rows works them out; they travel with the sweep.
    _ = sweep.rows
    return sweep


def _refuse_more_than(most_points: int, sweep: Sweep) -> None:
    if sweep.size <= most_points:
        return
    longest = max(sweep.axes, key=lambda axis: len(axis.choices))
    sizes = " × ".join(f"{len(axis.choices):,}" for axis in sweep.axes)
    complaint = f"{sizes} are {sweep.size:,} points; at most {most_points:,} are predicted at once."
    raise SweepRefused(complaint, setting=longest.name)


def run_sweep(sweep: Sweep, asks: Sequence[Ask] = (predict,)) -> Iterator[SweepPoint]:
    """Every point as it comes, those that follow from each other in a row.

    asks: each is asked one question at a time, all of them side by side. Raises UnknownBaseModel.
    """
    if len(asks) == 1:
        yield from (_answered(sweep, at, asks[0]) for row in sweep.rows for at in row)
    else:
        yield from _side_by_side(sweep, deque(sweep.rows), asks)


def _ends_first(row: list[At]) -> tuple[At, ...]:
    return tuple(row if len(row) < 3 else [row[0], row[-1], *row[1:-1]])


def _extents(sweep: Sweep, at: At) -> tuple[int, ...]:
    changes = sweep.changes_at(at)
    names = ("micro_batch_size", "sequence_len", "lora_r")
    return tuple(int(changes.get(name, getattr(sweep.recipe, name)) or 0) for name in names)


def _family(sweep: Sweep, at: At) -> Hashable:
    """What a refused point is like does not matter: it costs nothing."""
    from lora_explorer.memory.estimate import family_of

    card = sweep.cards[0] if sweep.cards else None
    try:
        recipe = sweep.recipe.changed(**sweep.changes_at(at))
        return None if errors_among(find_problems(recipe)) else family_of(recipe, sweep.base_model_at(at), card)
    except ExplorerError:
        return None


def _answered(sweep: Sweep, at: At, ask: Ask) -> SweepPoint:
    changes = sweep.changes_at(at)
    try:
        recipe = sweep.recipe.changed(**changes)
    except InvalidSettings as error:
        first = error.findings[0]
        return SweepPoint(at, changes, Prediction(problem=first.message, setting=first.setting))
    question = Question(recipe, sweep.base_model_at(at), sweep.cards, sweep.expandable_segments)
    return SweepPoint(at, changes, ask(question))


def _side_by_side(sweep: Sweep, rows: deque[tuple[At, ...]], asks: Sequence[Ask]) -> Iterator[SweepPoint]:
    """Whoever is ready takes the next row, so that none waits for another."""
    answers: SimpleQueue[SweepPoint | None] = SimpleQueue()
    left = Event()

    def take_rows(ask: Ask) -> None:
        while (row := _next(rows)) is not None:
            for at in row:
                if left.is_set():
                    return
                answers.put(_answered(sweep, at, ask))

    with ThreadPoolExecutor(len(asks)) as pool:
        workers = [pool.submit(take_rows, ask) for ask in asks]
        for worker in workers:
            worker.add_done_callback(lambda _: answers.put(None))
        try:
            for _ in asks:
                yield from iter(answers.get, None)
        finally:
            left.set()
        for worker in workers:
            worker.result()


def _next(rows: deque[tuple[At, ...]]) -> tuple[At, ...] | None:
    try:
        return rows.popleft()
    except IndexError:
        return None
