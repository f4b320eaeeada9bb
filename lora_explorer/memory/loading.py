"""Loading a model onto the device: in which order its tensors arrive, are packed and are converted."""

from __future__ import annotations

from collections.abc import Sequence

from lora_explorer.memory.events import Timeline
from lora_explorer.memory.step import Loading
from lora_explorer.memory.trace import Resident, Segment

_BASE = ("base weights", "quantization state")


def load(timeline: Timeline, residents: Sequence[Resident], loading: Loading) -> None:
    """Tensors arrive in the checkpoint's type; each quantized one is packed beside the arriving one, which then goes.

    Other changes of type follow when all have arrived. "placed" is transformers 5 (core_model_loading.py): one large
    block is taken and let go first, so that the weights are cut from one segment, and they come in order of name.
    """
    timeline.mark(Segment("load", "embedding"))
    base = [resident for resident in residents if resident.category in _BASE]
    parameters = _by_parameter(base)
    if loading == "placed":
        timeline.died(timeline.born(sum(_warm_up_bytes(resident) for resident in base), "temporaries"))
        parameters.sort(key=lambda parts: _natural_key(parts[0].path))
    converted: dict[str, int] = {}
    for weight, *state in parameters:
        if weight.quantized:
            arrived = timeline.born(weight.arrives_bytes, "temporaries")
            for resident in (*state, weight):
                timeline.born(resident.size_bytes, resident.category)
            timeline.died(arrived)
        elif weight.arrives_bytes not in (0, weight.size_bytes):
            converted[weight.path] = timeline.born(weight.arrives_bytes, weight.category)
        else:
            timeline.born(weight.size_bytes, weight.category)
    for resident in base:
        if resident.path in converted and resident.category == "base weights":
            timeline.born(resident.size_bytes, resident.category)
            timeline.died(converted[resident.path])
    for resident in residents:
        if resident.category not in _BASE:
            timeline.born(resident.size_bytes, resident.category)


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
