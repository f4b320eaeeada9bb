"""Target settings that reach exactly some modules and parameters of a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lora_explorer.adapters.config import linear_names
from lora_explorer.adapters.coverage import fused_names
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.exploration.layer_map.endings import shortest_endings
from lora_explorer.exploration.layer_map.regexes import name_regex, number_regex
from lora_explorer.exploration.layer_map.sites import Site, SiteMap
from lora_explorer.settings import Recipe

Settings = Mapping[str, Any]

AS_NO_TARGETS: Settings = {
    "lora_target_linear": False,
    "lora_target_modules": None,
    "lora_target_parameters": None,
    "peft_layers_to_transform": (),
    "peft_layers_pattern": (),
}


@dataclass(frozen=True)
class Wanted:
    """What is to be reached. modules, parameters: sites; site_map: all there are."""

    modules: tuple[Site, ...]
    parameters: tuple[Site, ...]
    site_map: SiteMap

    @cached_property
    def unwanted_modules(self) -> tuple[Site, ...]:
        reached = set(self.modules)
        return tuple(site for site in self.site_map.sites if not site.is_parameter and site not in reached)


def wanted_among(paths: Sequence[str], site_map: SiteMap) -> Wanted:
    chosen = set(paths)
    found = [site for site in site_map.sites if site.path in chosen]
    modules = tuple(site for site in found if not site.is_parameter)
    return Wanted(modules, tuple(site for site in found if site.is_parameter), site_map)


def target_settings(wanted: Wanted, recipe: Recipe, skeleton: Skeleton) -> Iterator[Settings]:
    """Ways to say it; most of them may say something else on some models, which is for the caller to verify."""
    linear = linear_names(skeleton.model)
    for of_parameters in _parameters(wanted, recipe, skeleton, linear):
        for of_modules in _modules(wanted, linear, of_parameters.old_names):
            yield {**AS_NO_TARGETS, **of_modules, "lora_target_parameters": of_parameters.names or None}


@dataclass(frozen=True)
class _Parameters:
    """names: for lora_target_parameters. old_names: entries of lora_target_modules that PEFT reads as parameters."""

    names: tuple[str, ...]
    old_names: tuple[str, ...] = ()


def _parameters(wanted: Wanted, recipe: Recipe, skeleton: Skeleton, linear: Sequence[str]) -> Iterator[_Parameters]:
    """As the recipe reaches them now where names of modules do, and by their own names."""
    fused = fused_names(skeleton)
    listed = recipe.lora_target_modules
    named = (*(listed if isinstance(listed, tuple) else ()), *(linear if recipe.lora_target_linear else ()))
    old_names = tuple(dict.fromkeys(name for name in named if name.rpartition(".")[2] in fused))
    if wanted.parameters and old_names:
        yield _Parameters(recipe.target_parameter_names, old_names)
    paths = [site.path for site in wanted.parameters]
    others = [site.path for site in wanted.site_map.sites if site.is_parameter and site not in set(wanted.parameters)]
    yield _Parameters(shortest_endings(paths, others))


def _modules(wanted: Wanted, linear: Sequence[str], old_names: tuple[str, ...]) -> Iterator[Settings]:
    if not wanted.modules:
        yield {"lora_target_modules": old_names or None}
        return
    unwanted = wanted.unwanted_modules
    yield from _named(wanted.modules, unwanted, linear, old_names)
    yield from _in_layers(wanted, linear, old_names)
    if not old_names:
        yield from ({"lora_target_modules": regex} for regex in _regexes(wanted))


def _named(
    modules: Sequence[Site], unwanted: Sequence[Site], linear: Sequence[str], old_names: tuple[str, ...]
) -> Iterator[Settings]:
    """All linear modules by one switch, where no other has such a name; else a list of endings."""
    paths, others = [site.path for site in modules], [site.path for site in unwanted]
    if linear and not any(site.kind in linear for site in unwanted):
        rest = [site.path for site in modules if site.kind not in linear]
        names = shortest_endings(rest, others)
        more = tuple(name for name in old_names if name not in linear)
        yield {"lora_target_linear": True, "lora_target_modules": (*names, *more) or None}
    yield {"lora_target_modules": tuple(dict.fromkeys((*shortest_endings(paths, others), *old_names)))}


def _in_layers(wanted: Wanted, linear: Sequence[str], old_names: tuple[str, ...]) -> Iterator[Settings]:
    """The same with a list of layers beside it, where all that is wanted lies in some of them."""
    layers = {site.layer for site in wanted.modules}
    if None in layers:
        return
    numbers = tuple(sorted(layer for layer in layers if layer is not None))
    unwanted = [site for site in wanted.unwanted_modules if site.layer in layers]
    for settings in _named(wanted.modules, unwanted, linear, old_names):
        yield {**settings, "peft_layers_to_transform": numbers}
        # Another list of layers, of a vision tower, say, may have the same numbers.
        yield {
            **settings,
            "peft_layers_to_transform": numbers,
            "peft_layers_pattern": (wanted.site_map.tail_of(wanted.site_map.container),),
        }


def _regexes(wanted: Wanted) -> Iterator[str]:
    """One branch for all layers in which the same is wanted."""
    yield "|".join(_branches(wanted, wanted.site_map.tail_of, ".*"))
    yield "|".join(_branches(wanted, re.escape, ""))


def _branches(wanted: Wanted, called: Callable[[str], str], start: str) -> Iterator[str]:
    for (stack, slots), layers in wanted.site_map.alike(wanted.modules).items():
        within = set(layers)
        rivals = [site.slot for site in wanted.unwanted_modules if site.stack == stack and site.index in within]
        names = name_regex(shortest_endings(slots, rivals))
        every = len(layers) == wanted.site_map.lengths[stack]
        number = "" if every else f"\\.{number_regex(layers)}"
        yield f"{start}{called(stack)}{number}\\..*{names}"
    outside = [site.path for site in wanted.modules if site.index is None]
    others = [site.path for site in wanted.unwanted_modules]
    yield from (f".*{re.escape(name)}" for name in shortest_endings(outside, others))
