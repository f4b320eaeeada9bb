"""The rows of the map: every kind of module that the layers have, adapted or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lora_explorer.adapters.result import AdapterPlan, ModuleCount
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.exploration.layer_map.sites import sites_of
from lora_explorer.settings import Recipe


@dataclass(frozen=True)
class Cell:
    """What is trained of one kind in one layer: one module, or one of each expert.

    r, alpha: None where it is trained in full, or where experts differ.
    """

    trainable_params: int
    r: int | None
    alpha: float | None


@dataclass(frozen=True)
class MapRow:
    """One kind of module. name: an ending that only paths of this kind have, with * for the number of an expert.

    layers: those that have such a module. cells: what is trained, by layer.
    is_editable: whether an edit of the map can speak of it; what is only ever trained in full it cannot.
    """

    name: str
    layers: tuple[int, ...]
    cells: Mapping[int, Cell]
    is_editable: bool = True

    @property
    def trainable_params(self) -> int:
        return sum(cell.trainable_params for cell in self.cells.values())


def rows_of(plan: AdapterPlan, recipe: Recipe, skeleton: Skeleton) -> tuple[MapRow, ...]:
    """In the order of the model, so that no row moves when another one is switched; then what is trained in full."""
    site_map = sites_of(recipe, skeleton)
    trained: dict[str, list[ModuleCount]] = defaultdict(list)
    for module in plan.modules:
        if module.layer is not None:
            trained[site_map.row_names.get(module.path, module.kind)].append(module)
    rows = [MapRow(name, layers, _cells(trained.pop(name, ()))) for name, layers in site_map.row_layers.items()]
    rest = ((name, _cells(modules)) for name, modules in trained.items())
    return (*rows, *(MapRow(name, tuple(cells), cells, is_editable=False) for name, cells in rest))


def _cells(modules: Iterable[ModuleCount]) -> Mapping[int, Cell]:
    by_layer: dict[int, list[ModuleCount]] = defaultdict(list)
    for module in modules:
        if module.layer is not None:
            by_layer[module.layer].append(module)
    return {layer: _cell(by_layer[layer]) for layer in sorted(by_layer)}


def _cell(modules: Sequence[ModuleCount]) -> Cell:
    strengths = {(module.r, module.alpha) for module in modules}
    r, alpha = strengths.pop() if len(strengths) == 1 else (None, None)
    return Cell(sum(module.trainable_params for module in modules), r, alpha)
