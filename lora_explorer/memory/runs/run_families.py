"""Runs that differ in batch, length and rank only: three of them are traced, the others follow by law, exactly."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import RLock
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.size_law import TILE_TOKENS, NoLaw, Point, SizeLaw, size_law
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun, trace_run
from lora_explorer.memory.tracing.events import whole
from lora_explorer.memory.tracing.prepared_model import Adapter
from lora_explorer.memory.watching.trace import Whole

FAMILIES_OF_A_MODEL = 16
Trace = Callable[[Point], TracedRun]
# Losses that cut the tokens into chunks of a power of two: how many, and how large the last, follows no polynomial.
_UNEVEN_LOSSES = ("liger fused",)
# Coordinates of the two traces beside the first, small and large: without common ratios, so that no two products of
# them grow alike; odd and even multiples of the tile, so that a kernel that rounds to more than a tile shows.
_ROWS = ((2, 3), (67, 61))
_TILES = ((3, 5), (262, 253))
_POSITIONS = re.compile(r"(^|[._])(wpe|embed_positions?|positions?_embed\w*)$")
_OTHER_SENSES = re.compile("vision|visual|image|audio|encoder")
_MOST_PADDING_ROWS = 2
_NO_WINDOW = 1 << 40
_RANKS = ((5, 7, 11), (257, 251, 241))
# The optimizer's steps follow the traced one; what loading left in the cache, and which batches wait, is replayed.
_AFTER_THE_TRACE: Mapping[str, Any] = {
    "optimizer": "",
    "clips_gradients": True,
    "empties_cache": False,
    "waiting_batches": 0,
}


@dataclass(frozen=True)
class _Kin:
    """What the runs of a family share. one_row: a batch of one is a family of its own; its code can take other ways.

    windows: the windows of the model's attention between which the lengths lie.
    rows, tokens, rank: of a family whose members have them in common, None where they differ.
    """

    step: Step
    adapter: Hashable
    one_row: bool
    remainder_tokens: int
    windows: tuple[int, int] = (0, _NO_WINDOW)
    rows: int | None = None
    tokens: int | None = None
    rank: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether its members differ in rank at most."""
        return self.rows is not None and self.tokens is not None

    def narrower(self, point: Point) -> _Kin:
        """Where length has no law, as with windows, batch and rank may have one; where batch has none, rank may."""
        return replace(self, tokens=point.tokens, rows=None if self.tokens is None else point.rows)

    def admits(self, point: Point) -> bool:
        """Whether a point has what the members have in common."""
        return self.rows in (None, point.rows) and self.tokens in (None, point.tokens)

    def others(self, first: Point) -> Iterator[Point]:
        """A smaller and a larger member, different from the first in every coordinate that can move."""
        for rows, tiles, ranks in zip(_ROWS, self._tiles(), _RANKS, strict=True):
            lengths = [TILE_TOKENS * tile + self.remainder_tokens for tile in tiles]
            yield Point(
                first.rows if self.one_row or self.rows else _other(rows, first.rows),
                first.tokens if self.tokens else _other(lengths, first.tokens),
                first.rank if self.rank else _other(ranks, first.rank),
            )

    def _tiles(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Whole tiles of a short and of a long length between the windows."""
        small, large = _TILES
        below, above = (window // TILE_TOKENS for window in self.windows)
        return tuple(below + tile for tile in small), tuple(min(below + tile, above - 1 - tile % 2) for tile in large)


@dataclass
class _Family:
    first: TracedRun
    at: Point
    law: SizeLaw | None = None
    lawless: bool = False


_lock = RLock()
_families: WeakKeyDictionary[Skeleton, OrderedDict[_Kin, _Family]] = WeakKeyDictionary()


def run_of(skeleton: Skeleton, step: Step, adapter: Adapter, *, full_depth: bool = False) -> TracedRun:
    """As `trace_run`, and equal to it, but by law where three runs of the family have been traced.

    Raises MemoryUnknown also for a length that the model has no positions for, which a trace without values cannot see.
    """
    _check_positions(skeleton, step)
    if full_depth:
        return trace_run(skeleton, step, adapter, full_depth=True)
    kin, point = _kin(skeleton, step, adapter)

    def trace(at: Point) -> TracedRun:
        return trace_run(skeleton, *_at(at, step, adapter))

    with _lock:
        families = _families.setdefault(skeleton, OrderedDict())
        family = _family(families, kin, point, trace)
        while family.lawless and not kin.is_narrow:
            kin = kin.narrower(point)
            family = _family(families, kin, point, trace, first=family)
        return _member(family, point, trace)


def family_at(skeleton: Skeleton, step: Step, adapter: Adapter) -> Hashable:
    """Equal for runs of one family, but for those that fall apart into narrower ones."""
    return _kin(skeleton, step, adapter)[0]


def _kin(skeleton: Skeleton, step: Step, adapter: Adapter) -> tuple[_Kin, Point]:
    shapeless = replace(step, micro_batch_size=1, sequence_len=1, **_AFTER_THE_TRACE)
    point = Point(step.micro_batch_size, step.sequence_len, 1)
    shared: Hashable = cast("Hashable", adapter)
    rank: int | None = 1
    if isinstance(adapter, RecipeAdapter) and adapter.rank is not None:
        may_skip = _may_skip_scaling(skeleton)
        shared, point = adapter.kin if may_skip else adapter.kin_of_any_scale, point._replace(rank=adapter.rank)
        rank = adapter.rank if adapter.scales_by_one and may_skip else None
    windows = _windows_around(skeleton, point.tokens)
    kin = _Kin(shapeless, shared, point.rows == 1, point.tokens % TILE_TOKENS, windows, rank=rank)
    if step.loss in _UNEVEN_LOSSES:
        kin = replace(kin, rows=point.rows, tokens=point.tokens)
    return kin, point


def _windows_around(skeleton: Skeleton, tokens: int) -> tuple[int, int]:
    config = skeleton.config.get_text_config()
    found = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    windows = [window for window in found if isinstance(window, int)]
    return (
        max((window for window in windows if window <= tokens), default=0),
        min((window for window in windows if window > tokens), default=_NO_WINDOW),
    )


@lru_cache(maxsize=16)
def _may_skip_scaling(skeleton: Skeleton) -> bool:
    """Whether PEFT may adapt parameters of three dimensions, and leave a scale of one out (lora/layer.py)."""
    with skeleton.lock:
        return any(parameter.dim() == 3 for parameter in skeleton.model.parameters())


def _check_positions(skeleton: Skeleton, step: Step) -> None:
    """Packed documents are shorter than the row that they share."""
    positions = _table_positions(skeleton)
    if positions is not None and step.sequence_len > positions and not step.packed:
        raise MemoryUnknown(
            f"sequence_len: this model has a table of {positions:,} positions and stops beyond it; "
            f"{step.sequence_len:,} tokens are too many.",
            setting="sequence_len",
            suggestion=str(positions),
        )


@lru_cache(maxsize=16)
def _table_positions(skeleton: Skeleton) -> int | None:
    """Positions in a table of the language model, without the few rows that some keep for padding; None without one."""
    positions = getattr(skeleton.config.get_text_config(), "max_position_embeddings", None)
    tables = (
        module.num_embeddings
        for path, module in skeleton.model.named_modules()
        if isinstance(module, nn.Embedding) and _POSITIONS.search(path) and not _OTHER_SENSES.search(path)
    )
    rows = [count for count in tables if isinstance(positions, int) and 0 <= count - positions <= _MOST_PADDING_ROWS]
    return positions if rows and isinstance(positions, int) else None


def _at(point: Point, step: Step, adapter: Adapter) -> tuple[Step, Adapter]:
    if isinstance(adapter, RecipeAdapter) and adapter.rank is not None:
        adapter = adapter.with_rank(point.rank)
    return replace(step, micro_batch_size=point.rows, sequence_len=point.tokens), adapter


def _family(
    families: OrderedDict[_Kin, _Family], kin: _Kin, point: Point, trace: Trace, first: _Family | None = None
) -> _Family:
    """The family of a point, whose law is looked for when a second point is asked for. first: may be its first."""
    if kin not in families:
        at_hand = first is not None and kin.admits(first.at)
        families[kin] = _Family(first.first, first.at) if first and at_hand else _Family(trace(point), point)
        while len(families) > FAMILIES_OF_A_MODEL:
            families.popitem(last=False)
    families.move_to_end(kin)
    family = families[kin]
    if family.law is None and not family.lawless and point != family.at:
        _find_law(family, kin, trace)
    return family


def _member(family: _Family, point: Point, trace: Trace) -> TracedRun:
    if point == family.at:
        return family.first
    if family.law is None:
        return trace(point)
    try:
        numbers = family.law.numbers_at(point)
    except NoLaw:
        return trace(point)
    if family.law.covers(point):
        return _with_numbers(family.first, numbers)
    run = trace(point)
    if _structure(run) == _structure(family.first) and np.array_equal(_numbers(run), numbers):
        family.law.widen(point)
    return run


def _find_law(family: _Family, kin: _Kin, trace: Trace) -> None:
    """Trace two more members; where they differ in more than numbers, or cannot be traced, there is no law."""
    runs = {family.at: family.first}
    structure = _structure(family.first)
    family.lawless = True
    with suppress(NoLaw, ExplorerError):
        # The small one first: code that goes through the tokens one by one already differs there.
        for at in kin.others(family.at):
            runs[at] = runs.get(at) or trace(at)
            if _structure(runs[at]) != structure:
                return
        family.law = size_law({at: _numbers(run) for at, run in runs.items()})
        family.lawless = False


def _other(choices: Sequence[int], taken: int) -> int:
    return next(choice for choice in choices if choice != taken)


def _structure(run: TracedRun) -> Hashable:
    """Everything of a run but its numbers."""
    trace = run.kept_trace
    held = tuple((r.category, r.layer, r.path, r.quantized) for r in run.kept_residents)
    trained = tuple((layer, len(t.shape), *t[1:]) for layer, t in run.kept_trained)
    loading = run.load()
    loaded = loading.events.tobytes(), loading.codes.tobytes()
    computed = trace.work.operations
    happened = trace.events, trace.categories, trace.marks, trace.finish, trace.departures
    return run.stack, held, trained, happened, computed, loaded


def _numbers(run: TracedRun) -> Whole:
    """Sizes of what is held and of its checkpoint, extents of what is trained, sizes and work of the step, loading."""
    held = [size for resident in run.kept_residents for size in (resident.size_bytes, resident.arrives_bytes)]
    extents = [extent for _, tensor in run.kept_trained for extent in tensor.shape]
    step = run.kept_trace
    return np.concatenate([whole([*held, *extents, *step.sizes_bytes]), step.work.numbers, run.load().sizes_bytes])


def _with_numbers(run: TracedRun, numbers: Whole) -> TracedRun:
    """The run with other numbers in the order of `_numbers`."""
    loading = len(numbers) - len(run.load().sizes_bytes)
    computing = loading - len(run.kept_trace.work.numbers)
    rest = iter(numbers[:computing].tolist())
    held = tuple(r._replace(size_bytes=next(rest), arrives_bytes=next(rest)) for r in run.kept_residents)
    trained = tuple((layer, t._replace(shape=tuple(next(rest) for _ in t.shape))) for layer, t in run.kept_trained)
    work = run.kept_trace.work.with_numbers(numbers[computing:loading])
    trace = replace(run.kept_trace, sizes_bytes=tuple(rest), work=work)
    return TracedRun(run.stack, held, trained, trace, run.loading, loaded_like=(run, numbers[loading:]))
