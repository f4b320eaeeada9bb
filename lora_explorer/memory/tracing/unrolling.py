"""From the trace of a few layers to the trace of the whole model.

Layers that are alike leave the same births and deaths behind. So the events of a kept layer are written out again for
every layer it stands for; a storage that dies in a neighbouring layer or outside the layers is found by the role it
plays there. What is held on its way to the host dies further away, and is seen to apart (departures.py). Whatever does
not fit this picture raises CannotUnroll, and the whole model is traced instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from lora_explorer.memory.tracing.departures import Marks, Untold, held_again, leaving_at_once
from lora_explorer.memory.tracing.events import Part, as_trace, part_of, whole
from lora_explorer.memory.tracing.layers import Stack
from lora_explorer.memory.watching.trace import Departure, Phase, Resident, Segment, Trace, Whole


class CannotUnroll(Exception):
    """The layers depend on each other in a way that a few of them do not show."""


class Role(NamedTuple):
    """How a layer's storage is known to a neighbour: where it is born, how far away it dies, and in which phase."""

    born: Phase
    distance: int
    dies: Phase


class Home(NamedTuple):
    """Where a storage of a layer is born, and its place in the order of births there."""

    layer: int
    phase: Phase
    order: int


class Birth(NamedTuple):
    storage: int


class OwnDeath(NamedTuple):
    """Of a storage born in the same layer."""

    phase: Phase
    order: int


class NeighbourDeath(NamedTuple):
    """Of a storage born in the layer `-role.distance` away; the order is that of its births in this role."""

    role: Role
    order: int


class OutsideDeath(NamedTuple):
    """Of a storage born outside the layers."""

    storage: int


class LayerDeath(NamedTuple):
    """Outside the layers or at their other end, of a storage born in one."""

    home: Home


Event = Birth | OwnDeath | NeighbourDeath | OutsideDeath | LayerDeath


@dataclass
class _Piece:
    """The events of one segment."""

    segment: Segment
    numbers: list[int]
    events: list[Event] = field(default_factory=list)


@dataclass
class _Analysis:
    """A trace taken apart. exports: for every kept layer and role the births, in order, that a neighbour ends."""

    finish: Sequence[int]
    stack: Stack
    pieces: list[_Piece]
    homes: dict[int, Home]
    exports: dict[tuple[int, Role], list[Home]]


@dataclass(frozen=True)
class Layout:
    """The events of the whole model. sources: for each of its storages the one in the trace that it is like."""

    sources: Whole
    events: Whole
    marks: Marks
    finish: tuple[int, ...]


def unroll(trace: Trace, stack: Stack) -> Trace:
    """The trace of the whole model. Raises CannotUnroll."""
    return trace if stack.is_whole else as_trace(unroll_part(trace, stack))


def unroll_part(trace: Trace, stack: Stack) -> Part:
    """The same in arrays. Raises CannotUnroll."""
    part = part_of(trace)
    if stack.is_whole:
        return part
    departures = tuple(trace.departures)
    layout = lay_out(tuple(trace.events), tuple(trace.marks), tuple(trace.finish), stack, departures)
    sizes, codes = part.sizes_bytes[layout.sources], part.codes[layout.sources]
    return Part(sizes, codes, layout.events, layout.marks, layout.finish)


@lru_cache(maxsize=16)
def lay_out(
    events: tuple[int, ...],
    marks: Marks,
    finish: tuple[int, ...],
    stack: Stack,
    departures: tuple[Departure, ...] = (),
) -> Layout:
    """Where everything of a trace goes in the whole model, whatever its sizes. Raises CannotUnroll."""
    if not departures:
        return _Writer(_take_apart(events, marks, finish, stack)).write()
    try:
        at_once = leaving_at_once(events, marks, departures)
        layout = _Writer(_take_apart(at_once.events, at_once.marks, finish, stack)).write()
        held = held_again(layout.events.tolist(), layout.marks, layout.sources.tolist(), at_once)
    except Untold as error:
        raise CannotUnroll from error
    number_of = {storage: number for number, storage in enumerate(held.storages)}
    final = tuple(number_of[storage] for storage in layout.finish)
    return Layout(layout.sources[held.storages], whole(held.events), held.marks, final)


def unroll_residents(residents: Sequence[Resident], stack: Stack) -> list[Resident]:
    """What the whole model holds, in the order of its layers; layers that share weights hold them once."""
    by_layer: dict[int | None, list[Resident]] = defaultdict(list)
    for resident in residents:
        by_layer[resident.layer].append(resident)
    first = next((i for i, resident in enumerate(residents) if resident.layer is not None), len(residents))
    before = [resident for resident in residents[:first] if resident.layer is None]
    after = [resident for resident in residents[first:] if resident.layer is None]
    layers = [
        _in_layer(resident, like, layer)
        for layer, like in enumerate(stack.stands_in)
        for resident in by_layer[like]
        if not (stack.sources and _is_shared(resident) and stack.sources[layer] in stack.sources[:layer])
    ]
    return before + layers + after + list(_copied_states(by_layer, stack))


def _in_layer(resident: Resident, like: int, layer: int) -> Resident:
    return resident._replace(layer=layer, path=resident.path.replace(f".{like}.", f".{layer}.", 1))


def _is_shared(resident: Resident) -> bool:
    """Whether replicated layers have it in common: parameters and what belongs to them, but no buffers."""
    return resident.arrives_bytes > 0 or resident.category == "quantization state"


def _copied_states(by_layer: Mapping[int | None, Sequence[Resident]], stack: Stack) -> Iterator[Resident]:
    """PEFT copies every layer that it replicates and then shares the parameters only. bitsandbytes' modules hold the
    state of their weight as well, whose copy nothing takes away (peft/tuners/tuners_utils.py: clone_module)."""
    for layer, like in enumerate(stack.stands_in if stack.sources else ()):
        for resident in by_layer[like]:
            if resident.category == "quantization state":
                yield _in_layer(resident, like, layer)._replace(copied=True)


def _take_apart(events: Sequence[int], marks: Marks, finish: Sequence[int], stack: Stack) -> _Analysis:
    pieces = _pieces(events, marks, stack)
    homes = _homes(pieces)
    analysis = _Analysis(finish, stack, pieces, homes, defaultdict(list))
    for _, (home, role) in sorted(_roles(pieces, homes, stack).items()):
        analysis.exports[home.layer, role].append(home)
    for piece in pieces:
        piece.events = [_event(number, piece, analysis) for number in piece.numbers]
    return analysis


def _pieces(events: Sequence[int], marks: Marks, stack: Stack) -> list[_Piece]:
    positions = [position for position, _ in marks]
    if not positions:
        raise CannotUnroll
    positions[0] = 0
    ends = [*positions[1:], len(events)]
    pieces = [
        _Piece(segment, list(events[start:end]))
        for (_, segment), start, end in zip(marks, positions, ends, strict=True)
    ]
    for phase, order in (("forward", stack.kept), ("backward", stack.kept[::-1])):
        found = [p.segment.layer for p in pieces if p.segment.phase == phase and p.segment.layer is not None]
        inside = [i for i, p in enumerate(pieces) if p.segment.phase == phase and p.segment.layer is not None]
        if tuple(found) != order or inside != list(range(inside[0], inside[0] + len(inside))):
            raise CannotUnroll
    return pieces


def _homes(pieces: list[_Piece]) -> dict[int, Home]:
    homes: dict[int, Home] = {}
    for piece in pieces:
        if piece.segment.layer is not None:
            births = [number for number in piece.numbers if number >= 0]
            for order, storage in enumerate(births):
                homes[storage] = Home(piece.segment.layer, piece.segment.phase, order)
    return homes


def _roles(pieces: list[_Piece], homes: dict[int, Home], stack: Stack) -> dict[int, tuple[Home, Role]]:
    """Storages that die in a neighbouring layer. Distances count kept layers, which stand side by side."""
    place = {layer: position for position, layer in enumerate(stack.kept)}
    roles: dict[int, tuple[Home, Role]] = {}
    for piece in pieces:
        layer = piece.segment.layer
        for storage in (~number for number in piece.numbers if number < 0 and layer is not None):
            home = homes.get(storage)
            if home is None or layer is None or home.layer == layer:
                continue
            distance = place[layer] - place[home.layer]
            if abs(distance) == 1:
                roles[storage] = (home, Role(home.phase, distance, piece.segment.phase))
            elif {layer, home.layer} != {stack.kept[0], stack.kept[-1]}:
                # Only a sum over all layers goes further: from one end to the other, and both ends are always kept.
                raise CannotUnroll
    return roles


def _event(number: int, piece: _Piece, analysis: _Analysis) -> Event:
    if number >= 0:
        return Birth(number)
    home = analysis.homes.get(~number)
    layer = piece.segment.layer
    if home is None:
        return OutsideDeath(~number)
    if layer is None:
        return LayerDeath(home)
    if home.layer == layer:
        return OwnDeath(home.phase, home.order)
    place = analysis.stack.kept.index
    distance = place(layer) - place(home.layer)
    if abs(distance) != 1:
        return LayerDeath(home)
    role = Role(home.phase, distance, piece.segment.phase)
    return NeighbourDeath(role, analysis.exports[home.layer, role].index(home))


class _Writer:
    """Writes the events of the whole model."""

    def __init__(self, analysis: _Analysis) -> None:
        self._analysis = analysis
        self._sources: list[int] = []
        self._events: list[int] = []
        self._marks: list[tuple[int, Segment]] = []
        self._outside: dict[int, int] = {}
        self._inside: dict[Home, int] = {}
        self._copies: dict[int, list[int]] = defaultdict(list)
        for layer, like in enumerate(analysis.stack.stands_in):
            self._copies[like].append(layer)

    def write(self) -> Layout:
        self._check_neighbours()
        pieces = {piece.segment: piece for piece in self._analysis.pieces}
        for segment in self._order():
            like = None if segment.layer is None else self._analysis.stack.stands_in[segment.layer]
            self._marks.append((len(self._events), segment))
            self._write_piece(pieces[segment._replace(layer=like)], segment.layer)
        finish = tuple(number for storage in self._analysis.finish for number in self._all_of(storage))
        return Layout(whole(self._sources), whole(self._events), tuple(self._marks), finish)

    def _order(self) -> list[Segment]:
        order: list[Segment] = []
        layers = len(self._analysis.stack.stands_in)
        for piece in self._analysis.pieces:
            segment = piece.segment
            if segment.layer is None:
                order.append(segment)
            elif not order or order[-1].layer is None or order[-1].phase != segment.phase:
                numbers = range(layers) if segment.phase == "forward" else range(layers - 1, -1, -1)
                order.extend(segment._replace(layer=number) for number in numbers)
        return order

    def _write_piece(self, piece: _Piece, layer: int | None) -> None:
        births = 0
        for event in piece.events:
            if isinstance(event, Birth):
                number = self._born(event.storage)
                if layer is None:
                    self._outside[event.storage] = number
                else:
                    self._inside[Home(layer, piece.segment.phase, births)] = number
                    births += 1
            else:
                self._events.extend(~number for number in self._ended(event, piece, layer))

    def _ended(self, event: Event, piece: _Piece, layer: int | None) -> list[int]:
        if isinstance(event, LayerDeath):
            return [self._inside[event.home._replace(layer=copy)] for copy in self._copies[event.home.layer]]
        if isinstance(event, OutsideDeath):
            return [self._outside[event.storage]] if self._is_last(piece, layer) else []
        if layer is None or isinstance(event, Birth):
            raise CannotUnroll
        if isinstance(event, OwnDeath):
            return [self._inside[Home(layer, event.phase, event.order)]]
        neighbour = layer - event.role.distance
        home = self._analysis.exports[self._analysis.stack.stands_in[neighbour], event.role][event.order]
        return [self._inside[home._replace(layer=neighbour)]]

    def _is_last(self, piece: _Piece, layer: int | None) -> bool:
        """Whether no later copy of this layer still uses what was born outside."""
        if layer is None:
            return True
        copies = self._copies[self._analysis.stack.stands_in[layer]]
        return layer == (copies[-1] if piece.segment.phase == "forward" else copies[0])

    def _all_of(self, storage: int) -> list[int]:
        home = self._analysis.homes.get(storage)
        if home is None:
            return [self._outside[storage]]
        return [self._inside[home._replace(layer=copy)] for copy in self._copies[home.layer]]

    def _born(self, storage: int) -> int:
        number = len(self._sources)
        self._sources.append(storage)
        self._events.append(number)
        return number

    def _check_neighbours(self) -> None:
        """Every storage that a layer leaves to its neighbour must be one that the neighbour ends, and the reverse."""
        ends: dict[tuple[int, Role], int] = defaultdict(int)
        for piece in self._analysis.pieces:
            for event in piece.events:
                if isinstance(event, NeighbourDeath) and piece.segment.layer is not None:
                    ends[piece.segment.layer, event.role] += 1
        stands_in = self._analysis.stack.stands_in
        roles = {role for _, role in [*ends, *self._analysis.exports]}
        for role in roles:
            for layer, like in enumerate(stands_in):
                neighbour = layer + role.distance
                if not 0 <= neighbour < len(stands_in):
                    continue
                left = len(self._analysis.exports.get((like, role), ()))
                if left != ends.get((stands_in[neighbour], role), 0):
                    raise CannotUnroll
