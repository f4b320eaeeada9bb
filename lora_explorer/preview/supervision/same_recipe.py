"""Which kept runs had the very settings of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from lora_explorer.errors import InvalidSettings, PreviewRefused
from lora_explorer.preview.run_folder import RunFolder, home
from lora_explorer.preview.supervision.history import LossCurve, curves
from lora_explorer.settings import Recipe, recipe_from

_MOST_LOOKED_AT = 500


def curves_of(
    recipes: Sequence[Recipe | None], may_see: Callable[[RunFolder], bool] = lambda folder: True
) -> dict[int, LossCurve]:
    """By the place of the recipe, the loss of its newest run that has one. may_see: whose runs are looked at."""
    missing = {place: recipe for place, recipe in enumerate(recipes) if recipe is not None}
    found: dict[int, LossCurve] = {}
    for folder in filter(may_see, _newest_first()):
        if not missing:
            break
        ran = _recipe_of(folder.path)
        places = [place for place, recipe in missing.items() if recipe == ran]
        curve = _curve(folder) if places else None
        if curve is None or not curve.losses:
            continue
        for place in places:
            found[place] = curve
            del missing[place]
    return dict(sorted(found.items()))


def _newest_first() -> Iterator[RunFolder]:
    with suppress(FileNotFoundError):
        paths = sorted((home() / "runs").iterdir(), reverse=True)[:_MOST_LOOKED_AT]
        yield from (RunFolder(path) for path in paths if (path / "request.json").is_file())


def _curve(folder: RunFolder) -> LossCurve | None:
    """None where the run has been deleted meanwhile."""
    try:
        (curve,) = curves([folder.id])
    except PreviewRefused:
        return None
    return curve


@lru_cache(maxsize=_MOST_LOOKED_AT)
def _recipe_of(path: Path) -> Recipe | None:
    """What a run is asked to do is written once. None where that cannot be read."""
    record: Any = RunFolder(path).read("request")
    try:
        return recipe_from(record["recipe"])
    except (InvalidSettings, KeyError, TypeError, ValueError):
        return None
