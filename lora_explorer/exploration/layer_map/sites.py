"""Where an adapter could sit: every module and fused parameter that PEFT adapts, in a layer or outside of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from lora_explorer.adapters.candidate import ADAPTABLE
from lora_explorer.adapters.coverage import fused_expert_paths
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.exploration.layer_map.endings import shortest_endings
from lora_explorer.settings import Recipe

# PEFT, too, takes the first number of a path for the layer.
_IN_STACK = re.compile(r"(.*?)\.(\d+)\.(.*)")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class Site:
    """One place. layer: None outside the decoder layers.

    stack, index, slot: the path of the list of layers it lies in, its place there, and the rest of the path, also in
    a vision tower's layers; outside of any list only a slot. is_parameter: no module of its own, as fused experts.
    """

    path: str
    layer: int | None
    stack: str
    index: int | None
    slot: str
    is_parameter: bool = False

    @property
    def kind(self) -> str:
        """The last part of the path, as the map's rows are called."""
        return self.path.rpartition(".")[2]

    @property
    def unnumbered(self) -> str:
        """The path with * for every number in it: the same in each layer, and for each expert."""
        return _NUMBER.sub("*", self.path)

    def ends_with(self, name: str) -> bool:
        """Whether the path has this ending; with * in it, whether the path without its numbers has."""
        path = self.unnumbered if "*" in name else self.path
        return path == name or path.endswith(f".{name}")


@dataclass(frozen=True)
class SiteMap:
    """All sites of a model. container: the path of the list of decoder layers, such as model.layers."""

    sites: tuple[Site, ...]
    container: str
    num_layers: int

    @cached_property
    def lengths(self) -> Mapping[str, int]:
        """How many layers of each stack have sites."""
        layers = {(site.stack, site.index) for site in self.sites if site.index is not None}
        return Counter(stack for stack, _ in layers)

    def tail_of(self, stack: str) -> str:
        """The shortest ending of a stack's path that no other stack has."""
        (ending,) = shortest_endings([stack], [other for other in self.lengths if other != stack])
        return ending

    def alike(self, sites: Iterable[Site]) -> Mapping[tuple[str, tuple[str, ...]], tuple[int, ...]]:
        """The layers of a stack that have the same slots among some sites; sites outside of any stack are left out."""
        slots: dict[tuple[str, int], list[str]] = defaultdict(list)
        for site in sites:
            if site.index is not None:
                slots[site.stack, site.index].append(site.slot)
        found: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for (stack, index), in_layer in slots.items():
            found[stack, tuple(in_layer)].append(index)
        return {key: tuple(layers) for key, layers in found.items()}

    @property
    def in_layers(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if site.layer is not None)

    @cached_property
    def row_names(self) -> Mapping[str, str]:
        """By the path of a site in a layer: the shortest ending that tells its kind from the others in layers."""
        kinds = dict.fromkeys(site.unnumbered for site in self.in_layers)
        named = {kind: shortest_endings([kind], kinds.keys() - {kind})[0] for kind in kinds}
        return {site.path: named[site.unnumbered] for site in self.in_layers}

    @cached_property
    def row_layers(self) -> Mapping[str, tuple[int, ...]]:
        """The layers that have modules of a kind, by its name, in the order of the model."""
        found: dict[str, dict[int, None]] = defaultdict(dict)
        for site in self.in_layers:
            if site.layer is not None:
                found[self.row_names[site.path]][site.layer] = None
        return {name: tuple(sorted(layers)) for name, layers in found.items()}


def sites_of(recipe: Recipe, skeleton: Skeleton) -> SiteMap:
    """The sites of the model that the recipe builds, replicated layers included."""
    return _sites(skeleton, recipe.peft_layer_replication)


@lru_cache(maxsize=32)
def _sites(skeleton: Skeleton, replication: Sequence[tuple[int, int]]) -> SiteMap:
    container = skeleton.layer_paths[0].rpartition(".")[0]
    found = tuple(_plain(skeleton))
    if not replication:
        return SiteMap(found, container, skeleton.num_layers)
    sources = [layer for start, end in replication for layer in range(start, end)]
    outside = [site for site in found if site.layer is None]
    copies = (
        Site(f"{container}.{layer}.{site.slot}", layer, container, layer, site.slot, site.is_parameter)
        for layer, source in enumerate(sources)
        for site in found
        if site.layer == source
    )
    return SiteMap((*outside, *copies), container, len(sources))


def _plain(skeleton: Skeleton) -> Iterator[Site]:
    with skeleton.lock:
        modules = [path for path, module in skeleton.model.named_modules() if isinstance(module, ADAPTABLE)]
    for path in modules:
        yield _site(path, skeleton, is_parameter=False)
    for path in fused_expert_paths(skeleton):
        yield _site(path, skeleton, is_parameter=True)


def _site(path: str, skeleton: Skeleton, *, is_parameter: bool) -> Site:
    found = _IN_STACK.fullmatch(path)
    if found is None:
        return Site(path, None, "", None, path, is_parameter)
    return Site(path, skeleton.layer_of(path), found[1], int(found[2]), found[3], is_parameter)
