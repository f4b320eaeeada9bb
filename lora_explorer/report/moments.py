"""When and where in a run, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lora_explorer.report import words

if TYPE_CHECKING:
    from lora_explorer.memory.result import LargeStorage, MemoryEstimate, Recomputation, Stretch

_PHASES = {"load": "loading", "forward": "forward pass", "backward": "backward pass", "optimizer": "optimizer step"}
_RECOMPUTATION: Mapping[Recomputation, str] = {
    "none": "",
    "under way": ", while its activations are recomputed",
    "made": ", on its recomputed activations",
}


def stretch_in_words(stretch: Stretch) -> str:
    """backward pass, layer 31 of 32. Layers are counted from 1 here."""
    place = _place(stretch, {"embedding": "embedding", "head": "output head and loss"})
    return f"{_PHASES[stretch.phase]}, {place}" if place else _PHASES[stretch.phase]


def stretch_in_short(stretch: Stretch) -> str:
    """backward · layer 31 of 32: for where there is little room."""
    place = _place(stretch, {"embedding": "embedding", "head": "loss"})
    return f"{_PHASES[stretch.phase].split()[0]} · {place}" if place else _PHASES[stretch.phase]


def peak_in_words(estimate: MemoryEstimate) -> str:
    """backward pass, layer 31 of 32, while its activations are recomputed."""
    first = " of the first step" if estimate.peak.step == 1 else ""
    return f"{stretch_in_words(estimate.peak)}{first}{_RECOMPUTATION[estimate.peak.recomputation]}"


def storage_in_words(storage: LargeStorage) -> str:
    """3 × 0.98 GiB logits and loss."""
    times = f"{storage.count:,} × " if storage.count > 1 else ""
    return f"{times}{words.file_size(storage.size_bytes)} {storage.part}"


def _place(stretch: Stretch, places: dict[str, str]) -> str:
    if stretch.phase in ("load", "optimizer"):
        return ""
    return places[stretch.place] if stretch.layer is None else f"layer {stretch.layer + 1} of {stretch.num_layers}"
