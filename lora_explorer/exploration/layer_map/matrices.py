"""What LoRA does to one matrix of each kind: the shapes of W, A and B as PEFT builds them, and the factor on B·A."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lora_explorer.adapters import AdapterPlan, ModuleCount, adapted_layers
from lora_explorer.adapters.layer_count import LayerCount
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.exploration.layer_map.sites import sites_of
from lora_explorer.settings import Recipe

_MOST_OF_A_KIND = 3
_DIMENSIONS_WITH_EXPERTS = 3


@dataclass(frozen=True)
class AdaptedMatrix:
    """W (out × in) + scaling · B (out × r) · A (r × in) in some of the layers.

    name: of the row of the map. experts: how many such matrices one parameter holds, each with an A and a B of its own.
    magnitude_params: DoRA's, 0 without. is_stored_transposed: the base holds W as (in, out). layers: where modules of
    this kind are just so; of_layers: how many layers have one that is adapted at all. frozen: which of A and B is not
    trained, as MiCA's B.
    """

    name: str
    out_features: int
    in_features: int
    experts: int
    r: int
    alpha: float
    scaling: float
    magnitude_params: int
    is_stored_transposed: bool
    layers: tuple[int, ...]
    of_layers: int
    frozen: frozenset[str] = frozenset()

    @property
    def frozen_params(self) -> int:
        return self.experts * self.out_features * self.in_features

    @property
    def a_params(self) -> int:
        return self.experts * self.r * self.in_features

    @property
    def b_params(self) -> int:
        return self.experts * self.out_features * self.r

    @property
    def trainable_params(self) -> int:
        of_matrices = {"A": self.a_params, "B": self.b_params}
        return sum(params for name, params in of_matrices.items() if name not in self.frozen) + self.magnitude_params


def matrices_of(plan: AdapterPlan, recipe: Recipe, skeleton: Skeleton) -> tuple[AdaptedMatrix, ...]:
    """For each kind that is adapted in the layers, in the order of the map's rows: its most frequent matrix, then at
    most two that are less so.
    """
    site_map, layers = sites_of(recipe, skeleton), adapted_layers(recipe, skeleton)
    by_row: dict[str, list[ModuleCount]] = defaultdict(list)
    for module in plan.modules:
        if module.path in layers and module.path in site_map.row_names:
            by_row[site_map.row_names[module.path]].append(module)
    named = ((name, by_row[name]) for name in site_map.row_layers if name in by_row)
    return tuple(matrix for name, modules in named for matrix in _of_kind(name, modules, layers))


def _of_kind(name: str, modules: Sequence[ModuleCount], layers: Mapping[str, LayerCount]) -> Iterator[AdaptedMatrix]:
    groups: dict[Hashable, list[ModuleCount]] = defaultdict(list)
    for module in modules:
        groups[module.shape, module.r, module.alpha].append(module)
    everywhere = len(_layers_of(modules))
    for group in sorted(groups.values(), key=len, reverse=True)[:_MOST_OF_A_KIND]:
        yield _matrix(name, group[0].shape, layers[group[0].path], _layers_of(group), everywhere)


def _layers_of(modules: Iterable[ModuleCount]) -> tuple[int, ...]:
    return tuple(sorted({module.layer for module in modules if module.layer is not None}))


def _matrix(
    name: str, shape: tuple[int, ...], layer: LayerCount, layers: tuple[int, ...], of_layers: int
) -> AdaptedMatrix:
    # PEFT holds the A of all experts in one matrix, rank by rank, and so the B.
    experts = shape[0] if len(shape) == _DIMENSIONS_WITH_EXPERTS else 1
    in_features, out_features = layer.shapes["lora_A"][1], layer.shapes["lora_B"][0]
    return AdaptedMatrix(
        name=name,
        out_features=out_features,
        in_features=in_features,
        experts=experts,
        r=layer.r,
        alpha=layer.alpha,
        scaling=layer.scaling,
        magnitude_params=max(layer.shapes.get("lora_magnitude_vector", ()), default=0),
        is_stored_transposed=shape[-2:] != (out_features, in_features),
        layers=layers,
        of_layers=of_layers,
        frozen=frozenset(name.removeprefix("lora_") for name in layer.frozen),
    )
