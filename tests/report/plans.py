"""Small plans to draw."""

from __future__ import annotations

from lora_explorer.adapters.result import AdapterPlan, ModuleCount, TargetCoverage
from lora_explorer.exploration.layer_map import MapRow
from lora_explorer.exploration.layer_map.rows import Cell

PARAMS_OF_KIND = {"q_proj": 8192, "k_proj": 2048}


def plan_of(num_layers: int, kinds: dict[str, int] = PARAMS_OF_KIND, missed: tuple[str, ...] = ()) -> AdapterPlan:
    """Every kind adapted in every layer, and entries that matched nothing."""
    modules = tuple(
        ModuleCount(
            f"model.layers.{layer}.{kind}", kind, layer, (8, 8), 8, 16, 2.0, params, "lora_target_modules", kind
        )
        for layer in range(num_layers)
        for kind, params in kinds.items()
    )
    layers = tuple(range(num_layers))
    matched = (
        TargetCoverage("lora_target_modules", kind, num_layers, layers, params * num_layers)
        for kind, params in kinds.items()
    )
    nothing = (TargetCoverage("lora_target_modules", entry, 0, (), 0, ("q_proj",)) for entry in missed)
    return AdapterPlan(
        10**9, sum(m.trainable_params for m in modules), modules, (*matched, *nothing), 1 << 20, num_layers
    )


def rows_of_kinds(num_layers: int, kinds: dict[str, int] = PARAMS_OF_KIND) -> tuple[MapRow, ...]:
    """The map of such a plan."""
    layers = tuple(range(num_layers))
    return tuple(
        MapRow(kind, layers, {layer: Cell(params, 8, 16) for layer in layers}) for kind, params in kinds.items()
    )
