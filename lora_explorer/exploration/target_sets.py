"""Sets of targets with a name, made of the modules that a model really has: attention only, MLP only, all linear..."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import AdapterRefused, InvalidSettings
from lora_explorer.exploration.layer_map.assignment import Strength, assignment_of
from lora_explorer.exploration.layer_map.sites import Site, sites_of
from lora_explorer.exploration.layer_map.targets import AS_NO_TARGETS, target_settings, wanted_among
from lora_explorer.exploration.layer_map.wording import typed_length
from lora_explorer.settings import Recipe, recipe_from

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(r"mlp|ffn|feed_?forward|moe|expert|fc\d|dense", re.IGNORECASE)
# Where the query's matrix of a family is, its value's is called the same but for this.
_QUERY_TO_VALUE = (("query", "value"), ("q", "v"))


@dataclass(frozen=True)
class TargetSet:
    """One choice of targets.

    name: as it is typed; label: as it is read. settings: all target settings, by field. reached: what it adapts at a
    rank of 1; old names of fused experts reach them at a multiple of it.
    """

    name: str
    label: str
    settings: Mapping[str, Any]
    reached: frozenset[tuple[str, Strength]] = field(repr=False)


def target_sets(recipe: Recipe, skeleton: Skeleton) -> tuple[TargetSet, ...]:
    """The sets that settings can say exactly in this model, in the layers that the recipe adapts.

    Where a model has nothing but attention to adapt, say, two names mean the same; `distinct` keeps the first.
    """
    kept = {
        "peft_layers_to_transform": recipe.peft_layers_to_transform,
        "peft_layer_replication": recipe.peft_layer_replication,
    }
    return _target_sets(recipe_from({"adapter": "lora", "lora_r": 1, "lora_alpha": 1, **kept}), skeleton)


def distinct(sets: Sequence[TargetSet]) -> tuple[TargetSet, ...]:
    """The first of those that reach the same modules."""
    return tuple({each.reached: each for each in reversed(sets)}.values())[::-1]


@lru_cache(maxsize=64)
def _target_sets(recipe: Recipe, skeleton: Skeleton) -> tuple[TargetSet, ...]:
    def named(name: str, label: str, settings: Mapping[str, Any]) -> TargetSet:
        return TargetSet(name, label, settings, _reached(recipe, settings, skeleton))

    layers = {"peft_layers_to_transform": recipe.peft_layers_to_transform}
    found = [named("all-linear", "all linear modules", {**AS_NO_TARGETS, **layers, "lora_target_linear": True})]
    found += _by_sites(recipe, skeleton)
    names = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(skeleton.config.model_type)
    if names:
        settings = {**AS_NO_TARGETS, **layers, "lora_target_modules": tuple(names)}
        found.append(named("peft-default", "PEFT's default", settings))
    return tuple(each for each in found if each.reached)


def _by_sites(recipe: Recipe, skeleton: Skeleton) -> Iterator[TargetSet]:
    layers = set(recipe.peft_layers_to_transform)
    site_map = sites_of(recipe, skeleton)
    sites = [site for site in site_map.in_layers if not layers or site.layer in layers]
    for name, (label, members) in _groups(sites).items():
        settings = _settings_for(members, recipe, skeleton)
        if settings is not None:
            yield TargetSet(name, label, settings, _alone(members))


def _groups(sites: list[Site]) -> dict[str, tuple[str, list[Site]]]:
    """Members by name, with the label."""
    modules = [site for site in sites if not site.is_parameter]
    attention = [site for site in modules if _ATTENTION.search(_owner(site))]
    attending = set(attention)
    mlp = [site for site in sites if site not in attending and _MLP.search(site.slot.partition(".")[0])]
    named = attending | set(mlp)
    experts = [site for site in sites if site.is_parameter]
    groups = {
        "all-modules": ("every adaptable module of the layers", modules),
        "attention": ("attention only", attention),
        "mlp": ("MLP only", mlp),
        "query-value": ("query and value only", _query_and_value(attention)),
        "experts": ("experts only", experts),
        "attention-experts": ("attention and experts", [*attention, *experts] if experts else []),
    }
    others: dict[str, list[Site]] = defaultdict(list)
    for site in modules:
        if site not in named:
            others[site.slot.partition(".")[0]].append(site)
    # Kinds of layers that are neither, such as those of state-space models.
    return {**groups, **{name: (f"{name} only", members) for name, members in others.items()}}


def _owner(site: Site) -> str:
    return site.slot.rpartition(".")[0]


def _query_and_value(attention: list[Site]) -> list[Site]:
    kinds = {site.kind for site in attention}
    for query, value in _QUERY_TO_VALUE:
        pairs = {kind: kind.replace(query, value, 1) for kind in kinds if query in kind}
        chosen = {kind for pair in pairs.items() for kind in pair if set(pair) <= kinds}
        if chosen:
            return [site for site in attention if site.kind in chosen]
    return []


def _settings_for(members: list[Site], recipe: Recipe, skeleton: Skeleton) -> Mapping[str, Any] | None:
    """The shortest settings that reach exactly these; None if none do."""
    if not members:
        return None
    paths = [site.path for site in members]
    wanted = wanted_among(paths, sites_of(recipe, skeleton))
    for settings in sorted(target_settings(wanted, recipe, skeleton), key=typed_length):
        if _reached(recipe, settings, skeleton) == _alone(members):
            return settings
    return None


def _alone(members: Sequence[Site]) -> frozenset[tuple[str, Strength]]:
    """These and no others, each at the recipe's own rank."""
    return frozenset((site.path, Strength(1, 1)) for site in members)


def _reached(recipe: Recipe, settings: Mapping[str, Any], skeleton: Skeleton) -> frozenset[tuple[str, Strength]]:
    """What settings adapt; nothing where PEFT refuses them."""
    try:
        return frozenset(assignment_of(plan_adapter(recipe.changed(**settings), skeleton)).items())
    except (AdapterRefused, InvalidSettings):
        return frozenset()
