"""From an assignment of ranks to the shortest settings that PEFT reads as exactly that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from lora_explorer.adapters import AdapterPlan, plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import AdapterRefused, InvalidSettings
from lora_explorer.exploration.layer_map.assignment import Assignment, Strength, assignment_of
from lora_explorer.exploration.layer_map.patterns import pattern_settings
from lora_explorer.exploration.layer_map.sites import SiteMap, sites_of
from lora_explorer.exploration.layer_map.targets import target_settings, wanted_among
from lora_explorer.settings import SETTINGS, Recipe

Changes = Mapping[str, Any]

_NO_PATTERNS: Changes = {"lora_rank_pattern": {}, "lora_alpha_pattern": {}}
# Each is verified by a plan of its own; the first ones are nearly always right.
_MOST_TRIED = 24
# A sign of a regex is harder to read, and to get right, than one of a name.
_REGEX_WEIGHT = 2


@dataclass(frozen=True)
class Wording:
    """changes: every setting that changes, by field name; none where nothing has to. why_not: why it cannot be said."""

    changes: Changes
    why_not: str = ""


def word_assignment(wanted: Assignment, recipe: Recipe, skeleton: Skeleton) -> Wording:
    """The shortest change of settings that gives exactly these ranks and alphas, as PEFT's own matching confirms.

    What is trained in full beside the adapter stays. Raises InvalidSettings and AdapterRefused for the recipe itself.
    """
    if not wanted:
        return Wording({}, "Nothing would be adapted any more; at least one module must stay.")
    before = plan_adapter(recipe, skeleton)
    now = assignment_of(before)
    if now == wanted:
        return Wording({})
    site_map = sites_of(recipe, skeleton)
    unknown = wanted.keys() - {site.path for site in site_map.sites}
    if unknown:
        return Wording({}, f"{min(unknown)} is none of the places that an edit of the map can speak of.")
    failures: list[str] = []
    for settings in _proposals(wanted, now, recipe, skeleton, site_map):
        problem = _problem(settings, wanted, recipe, skeleton, before)
        if problem is None:
            return Wording(_differing(settings, recipe))
        failures.append(problem)
    return Wording({}, f"No settings say exactly this. {failures[0]}")


def typed_length(settings: Changes) -> int:
    """How much there is to type into the controls: names with commas between them, layers as spans."""
    given = {name: value for name, value in settings.items() if value not in (None, False, (), {})}
    return sum(len(SETTINGS[name].key) + 2 + _typed(value) for name, value in given.items())


def _typed(value: Any) -> int:
    if isinstance(value, str):
        return _REGEX_WEIGHT * len(value)
    if isinstance(value, Mapping):
        return sum(len(f"{key}: {number}, ") for key, number in value.items())
    if isinstance(value, tuple):
        layers = all(isinstance(item, int) for item in value)
        return len(_spans(value)) if layers else sum(len(f"{name}, ") for name in value)
    return len(str(value))


def _spans(layers: tuple[int, ...]) -> str:
    """0-15, 20: as the page's control takes layers."""
    ends = [layer for layer in layers if layer + 1 not in layers]
    starts = [layer for layer in layers if layer - 1 not in layers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _proposals(
    wanted: Assignment, now: Assignment, recipe: Recipe, skeleton: Skeleton, site_map: SiteMap
) -> Iterator[Changes]:
    """Proposals by length. Targets stay as written where the same modules are adapted, patterns where ranks are."""
    targets: list[Changes] = []
    if wanted.keys() == now.keys():
        targets = [_as_written(recipe)]
    if wanted.keys() != now.keys():
        targets = list(target_settings(wanted_among(list(wanted), site_map), recipe, skeleton))
    patterns = list(_patterns(wanted, now, recipe, site_map))
    together = [{**target, **pattern} for target, pattern in product(targets, patterns)]
    unlike = {str(sorted(settings.items())): settings for settings in sorted(together, key=typed_length)}
    yield from list(unlike.values())[:_MOST_TRIED]


def _as_written(recipe: Recipe) -> Changes:
    names = (
        "lora_target_linear", "lora_target_modules", "lora_target_parameters", "peft_layers_to_transform",
        "peft_layers_pattern",
    )  # fmt: skip
    return {name: getattr(recipe, name) for name in names}


def _patterns(wanted: Assignment, now: Assignment, recipe: Recipe, site_map: SiteMap) -> Iterator[Changes]:
    own = Strength(recipe.lora_r or 1, recipe.lora_alpha or 1)
    as_written = {name: getattr(recipe, name) for name in _NO_PATTERNS}
    if all(now.get(path, own) == strength for path, strength in wanted.items()):
        yield as_written
    if len(set(wanted.values())) == 1:
        (only,) = set(wanted.values())
        yield {"lora_r": only.r, "lora_alpha": only.alpha, **_NO_PATTERNS}
    yield from pattern_settings(wanted, own, site_map)
    # PEFT itself gives fused experts that are named as modules a multiple of the rank.
    fused = {site.path for site in site_map.sites if site.is_parameter}
    yield from pattern_settings({path: each for path, each in wanted.items() if path not in fused}, own, site_map)


def _problem(
    settings: Changes, wanted: Assignment, recipe: Recipe, skeleton: Skeleton, before: AdapterPlan
) -> str | None:
    """What is wrong with a proposal, in a sentence; None if PEFT reads it as what is wanted."""
    try:
        plan = plan_adapter(recipe.changed(**settings), skeleton)
    except (InvalidSettings, AdapterRefused) as error:
        return error.findings[0].message
    got = assignment_of(plan)
    if got == wanted:
        whole = [{module.path for module in each.modules if module.r is None} for each in (before, plan)]
        return None if whole[0] == whole[1] else "Other modules would be trained in full."
    return _difference(got, wanted)


def _difference(got: Assignment, wanted: Assignment) -> str:
    missing, more = sorted(wanted.keys() - got.keys()), sorted(got.keys() - wanted.keys())
    if more:
        return f"The nearest settings adapt {_counted(more)} as well."
    if missing:
        return f"The nearest settings leave out {_counted(missing)}."
    other = next(path for path in sorted(wanted) if got[path] != wanted[path])
    return f"The nearest settings give {other} rank {got[other].r} and alpha {got[other].alpha}."


def _counted(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _differing(settings: Changes, recipe: Recipe) -> Changes:
    """Only what changes; what would be empty is None, which means absent."""
    return {
        name: None if value in ((), {}) else value for name, value in settings.items() if not _same(value, recipe, name)
    }


def _same(value: Any, recipe: Recipe, name: str) -> bool:
    return bool(getattr(recipe, name) == value)
