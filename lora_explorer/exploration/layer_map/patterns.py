"""Rank and alpha patterns that give some of the adapted modules another rank than the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lora_explorer.exploration.layer_map.assignment import Assignment, Strength
from lora_explorer.exploration.layer_map.endings import shortest_endings
from lora_explorer.exploration.layer_map.regexes import name_regex, number_regex
from lora_explorer.exploration.layer_map.sites import Site, SiteMap

Keys = Callable[[Sequence[Site], Sequence[Site], SiteMap], tuple[str, ...]]
"""The keys for some of the adapted sites; the others must not match."""


def pattern_settings(wanted: Assignment, own: Strength, site_map: SiteMap) -> Iterator[Mapping[str, Any]]:
    """Ways to say what differs from the recipe's own rank and alpha, the shortest first."""
    adapted = [site for site in site_map.sites if site.path in wanted]
    for keys in (_shortest_keys, _ending_keys, _whole_keys):
        ranks = _pattern({site: wanted[site.path].r for site in adapted}, own.r, keys, site_map)
        alphas = _pattern({site: wanted[site.path].alpha for site in adapted}, own.alpha, keys, site_map)
        yield {"lora_rank_pattern": ranks, "lora_alpha_pattern": alphas}


def _pattern(values: Mapping[Site, int], own: int, keys: Keys, site_map: SiteMap) -> dict[str, int]:
    by_value: dict[int, list[Site]] = defaultdict(list)
    for site, value in values.items():
        by_value[value].append(site)
    return {
        key: value
        for value, sites in by_value.items()
        if value != own
        for key in keys(sites, [site for site in values if values[site] != value], site_map)
    }


def _shortest_keys(sites: Sequence[Site], others: Sequence[Site], site_map: SiteMap) -> tuple[str, ...]:
    return min(_ending_keys(sites, others, site_map), _layer_keys(sites, others, site_map), key=_length)


def _length(keys: Sequence[str]) -> int:
    return sum(len(key) for key in keys) + 2 * len(keys)


def _ending_keys(sites: Sequence[Site], others: Sequence[Site], site_map: SiteMap) -> tuple[str, ...]:
    """Plain endings of paths; a dot in a key also matches any other sign, which no path of a model confuses."""
    return shortest_endings([site.path for site in sites], [site.path for site in others])


def _whole_keys(sites: Sequence[Site], others: Sequence[Site], site_map: SiteMap) -> tuple[str, ...]:
    return tuple(site.path for site in sites)


def _layer_keys(sites: Sequence[Site], others: Sequence[Site], site_map: SiteMap) -> tuple[str, ...]:
    """One regex for all layers that have the same sites among these."""
    alike = site_map.alike(sites).items()
    inside = (_layer_key(stack, slots, layers, others, site_map) for (stack, slots), layers in alike)
    return (*inside, *_ending_keys([site for site in sites if site.index is None], others, site_map))


def _layer_key(
    stack: str, slots: tuple[str, ...], layers: tuple[int, ...], others: Sequence[Site], site_map: SiteMap
) -> str:
    """Names may be left out where nothing else is adapted in these layers."""
    within = set(layers)
    rivals = [other.slot for other in others if other.stack == stack and other.index in within]
    names = name_regex(shortest_endings(slots, rivals)) if rivals else ""
    return f"{site_map.tail_of(stack)}\\.{number_regex(layers)}\\..*{names}"
