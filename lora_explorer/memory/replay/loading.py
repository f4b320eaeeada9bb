"""Loading a model onto the device: in which order its tensors arrive, are packed and are converted.

transformers 5 places tensors with a device map (core_model_loading.py): one large block is taken and let go first, so
that the weights are cut from one segment; then four threads read the tensors in order of name, each taking room on
the device before it copies, while the main thread packs what has arrived, in the same order. How far the readers are
ahead is chance, and with it the holes that packing leaves behind: measured runs of one configuration differ by some
MiB after loading and by per cents in what is reserved. So a quantized load is played several times, each reader
needing a time in proportion to a tensor's bytes, more or less, and the packing a part of the usual time. Where the
threads are switched off (HF_DEACTIVATE_ASYNC_LOAD, as Axolotl does for quantized weights), there is no race.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from math import log

from lora_explorer.memory.plan.optimizers import StepEvents
from lora_explorer.memory.plan.step import Loading
from lora_explorer.memory.tracing.events import Timeline
from lora_explorer.memory.watching.trace import Category, Resident, Segment

# transformers.core_model_loading.GLOBAL_WORKERS.
READERS = 4
# A choice, not a measurement: a read takes between half and twice the usual time in two of three cases (the standard
# deviation of its logarithm). Wider, and more unpacked tensors wait at once: more is reserved, and more varies.
SPREAD = log(2)
# A choice: how long packing a tensor takes, as a share of the usual time to read it. Its bytes are on the card by then,
# where they pass about ten times as fast as over a bus. Meanwhile the readers run on and get further ahead.
PACKING = 0.1
# A choice: how often a race is played. More races say better what is usual and take longer.
RACES = 21

_BASE = ("base weights", "quantization state")
_ARRIVES, _IS_TAKEN = 0, 1


def races(residents: Sequence[Resident], loading: Loading) -> int:
    """In how many ways a load is worth playing: one, unless what is packed depends on who is first."""
    return RACES if loading == "raced" and any(resident.quantized for resident in residents) else 1


def load(timeline: Timeline, residents: Sequence[Resident], loading: Loading, race: int = 0) -> None:
    """Append the loading of a model, as race number `race` went. See `loading_events`."""
    timeline.mark(Segment("load", "embedding"))
    timeline.extend(loading_events(residents, loading, race))


def loading_events(residents: Sequence[Resident], loading: Loading, race: int = 0) -> StepEvents:
    """Births and deaths of loading a model. Storages have the same numbers in every race, only the events differ.

    Tensors arrive in the checkpoint's type; each quantized one is packed beside the arriving one, which then goes.
    Other changes of type follow when all have arrived. loading: "raced" and "placed" are transformers' device map with
    readers racing or in order; "moved" brings a model from the host as a whole.
    """
    record = _Record()
    base = [resident for resident in residents if resident.category in _BASE and not resident.copied]
    parameters = _by_parameter(base)
    if loading != "moved":
        record.events.append(~record.born(sum(_warm_up_bytes(resident) for resident in base), "temporaries"))
        parameters.sort(key=lambda parts: _natural_key(parts[0].path))
    converted = record.arrive(parameters, _order(parameters, race if loading == "raced" else None))
    for resident in base:
        if resident.path in converted and resident.category == "base weights":
            record.born(resident.size_bytes, resident.category)
            record.events.append(~converted[resident.path])
    for resident in residents:
        if resident.category not in _BASE or resident.copied:
            record.born(resident.size_bytes, resident.category)
    return StepEvents(tuple(record.sizes_bytes), tuple(record.categories), tuple(record.events))


class _Record:
    """Storages numbered as they are planned, events in the order in which they happen."""

    def __init__(self) -> None:
        self.sizes_bytes: list[int] = []
        self.categories: list[Category] = []
        self.events: list[int] = []

    def born(self, size_bytes: int, category: Category) -> int:
        number = self._planned(size_bytes, category)
        self.events.append(number)
        return number

    def arrive(self, parameters: Sequence[Sequence[Resident]], order: Iterator[tuple[int, int]]) -> dict[str, int]:
        """Every parameter arrives and is taken; returns the storages, by path, whose type is still to be converted."""
        numbers = [self._storages(parts) for parts in parameters]
        converted: dict[str, int] = {}
        for turn, index in order:
            (weight, *_), (arriving, *packed) = parameters[index], numbers[index]
            if turn == _ARRIVES:
                self.events.append(arriving)
            elif weight.quantized:
                self.events.extend([*packed, ~arriving])
            elif weight.arrives_bytes not in (0, weight.size_bytes):
                converted[weight.path] = arriving
        return converted

    def _storages(self, parts: Sequence[Resident]) -> list[int]:
        """What arrives, then quantization state and packed weight."""
        weight, *state = parts
        if not weight.quantized:
            return [self._planned(weight.arrives_bytes or weight.size_bytes, weight.category)]
        arriving = self._planned(weight.arrives_bytes, "temporaries")
        return [arriving, *(self._planned(part.size_bytes, part.category) for part in (*state, weight))]

    def _planned(self, size_bytes: int, category: Category) -> int:
        self.sizes_bytes.append(size_bytes)
        self.categories.append(category)
        return len(self.sizes_bytes) - 1


def _order(parameters: Sequence[Sequence[Resident]], race: int | None) -> Iterator[tuple[int, int]]:
    """Turns of (arrives or is taken, index). race: the number of a race; None without one, one after the other."""
    if race is None:
        return ((turn, index) for index in range(len(parameters)) for turn in (_ARRIVES, _IS_TAKEN))
    return _raced([parts[0].arrives_bytes for parts in parameters], random.Random(race))


def _raced(sizes_bytes: Sequence[int], chance: random.Random) -> Iterator[tuple[int, int]]:
    """Readers begin the next tensor when they are free; one tensor at a time is packed, in order, once it is there."""
    free = [0.0] * READERS
    turns: list[tuple[float, int, int]] = []
    packed = 0.0
    for index, size in enumerate(sizes_bytes):
        begin = heapq.heappop(free)
        end = begin + size * chance.lognormvariate(0, SPREAD)
        heapq.heappush(free, end)
        packed_from = max(packed, end)
        packed = packed_from + PACKING * size
        turns += [(begin, _ARRIVES, index), (packed_from, _IS_TAKEN, index)]
    return ((turn, index) for _, turn, index in sorted(turns))


def _by_parameter(base: Sequence[Resident]) -> list[list[Resident]]:
    """A quantized weight together with its quantization state."""
    parts: list[list[Resident]] = []
    for resident in base:
        if resident.category == "quantization state":
            parts[-1].append(resident)
        else:
            parts.append([resident])
    return parts


def _warm_up_bytes(resident: Resident) -> int:
    if resident.category == "quantization state":
        return 0
    return resident.size_bytes if resident.quantized else resident.arrives_bytes or resident.size_bytes


def _natural_key(path: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.split(".")]
