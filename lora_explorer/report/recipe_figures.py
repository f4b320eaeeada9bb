"""What a recipe comes to, in a few words: for the gallery of presets, a terminal and a script."""

from __future__ import annotations

from typing import NamedTuple

from lora_explorer.exploration.comparison import Figures
from lora_explorer.recipe_files import RecipeFile
from lora_explorer.report import verdicts, words
from lora_explorer.report.records import Record

NO_CARD = "none of the common ones"
_CARD = "Smallest card"
_WAITING, _UNKNOWN = "…", "unknown"


class Figure(NamedTuple):
    """value: the exact one, or the name of a card; None where it is not known. below: what else is to be said of it."""

    name: str
    label: str
    said: str
    value: int | str | None = None
    below: str = ""


def figures_in_words(figures: Figures | None) -> tuple[Figure, ...]:
    """Trainable parameters, adapter size, peak memory, and the smallest common card. None: nothing is known yet."""
    without = _WAITING if figures is None else _UNKNOWN
    known = figures or Figures()
    params, size, held = known.trainable_params, known.adapter_file_bytes, known.process_bytes
    share = "" if known.trainable_percent is None else words.percent(known.trainable_percent)
    trainable = without if params is None else words.exact_count(params)
    return (
        Figure("trainable-params", "Trainable parameters", trainable, params, share),
        Figure("adapter-file", "Adapter file", without if size is None else words.file_size(size), size),
        Figure("peak-memory", "Peak memory", without if held is None else f"{words.gib(held)} GiB", held),
        _smallest_card(known, without),
    )


def _smallest_card(known: Figures, without: str) -> Figure:
    fit = known.fit
    if fit is None:
        return Figure("smallest-card", _CARD, without if known.process_bytes is None else NO_CARD)
    return Figure("smallest-card", _CARD, fit.gpu, fit.gpu, verdicts.headroom_in_words(fit))


def recipe_record(file: RecipeFile, base_model: str | None) -> Record:
    """A recipe that comes along, without its text."""
    return {"name": file.name, "title": file.title, "purpose": file.purpose, "base_model": base_model}


def figures_record(figures: Figures) -> Record:
    """process_bytes: at the peak on `gpu`, the smallest common card that holds the run, None where none does."""
    return {
        "trainable_params": figures.trainable_params,
        "trainable_percent": figures.trainable_percent,
        "adapter_file_bytes": figures.adapter_file_bytes,
        "process_bytes": figures.process_bytes,
        "gpu": figures.fit.gpu if figures.fit else None,
        "verdict": figures.fit.verdict if figures.fit else None,
        "problem": figures.problem or None,
    }
