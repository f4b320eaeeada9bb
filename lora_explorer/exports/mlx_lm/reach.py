"""What MLX-LM adapts: paths inside a layer, in the last layers of the model, and paths outside of the layers.

Facts: mlx-lm 0.32, linear_to_lora_layers. It compares whole paths, where PEFT compares their ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_explorer.base_models import Access, find_base_model
from lora_explorer.errors import UnknownBaseModel
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.base_models.skeleton import Skeleton

ALL_LAYERS = -1
# What a whole path inside a layer is made of.
_PLAIN_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


@dataclass(frozen=True)
class Reach:
    """keys: paths inside a layer, or from the root; None for every module that it can adapt, inside the layers.

    num_layers: how many layers, counted from the last; -1 for all. exact: whether this is all that the recipe adapts,
    and nothing else.
    """

    keys: tuple[str, ...] | None
    num_layers: int
    exact: bool


def reach_of(recipe: Recipe, skeleton: Skeleton | None) -> Reach:
    """From what PEFT adapts in this base model; without one, from names that are whole paths already."""
    if skeleton is not None:
        from lora_explorer.adapters.plan import plan_adapter

        return _planned(plan_adapter(recipe, skeleton), skeleton)
    named = recipe.lora_target_modules if isinstance(recipe.lora_target_modules, tuple) else ()
    whole = [name for name in named if _PLAIN_PATH.fullmatch(name)]
    only_paths = len(whole) == len(named) > 0 and not recipe.lora_target_linear
    only_paths = only_paths and not recipe.peft_layers_to_transform and not recipe.target_parameter_names
    return Reach(tuple(whole) or None, ALL_LAYERS, exact=only_paths)


def _planned(plan: AdapterPlan, skeleton: Skeleton) -> Reach:
    adapted = [module for module in plan.modules if module.via.startswith("lora_target")]
    # Fused experts are other modules there.
    modules = [module for module in adapted if len(module.shape) == 2]
    inside: dict[int, set[str]] = {}
    for module in modules:
        if module.layer is not None:
            inside.setdefault(module.layer, set()).add(module.path.partition(f".{module.layer}.")[2])
    outside = [module.path for module in modules if module.layer is None]
    keys = list(dict.fromkeys(key for layer in sorted(inside) for key in sorted(inside[layer])))
    last = range(min(inside, default=0), skeleton.num_layers)
    same = set(inside) == set(last) and all(paths == set(keys) for paths in inside.values())
    exact = len(modules) == len(adapted) and (same or not inside)
    count = ALL_LAYERS if len(inside) == skeleton.num_layers else len(last) if inside else 0
    return Reach((*keys, *outside), count, exact)


def layers_of(base_model: Any) -> int | None:
    """How many layers a preset has; None for any other model: its config is not asked for while a file is read."""
    try:
        config = json.loads(find_base_model(base_model, Access(hub=False, folders=False)).config_json)
    except (UnknownBaseModel, AttributeError):
        return None
    parts: Iterator[Mapping[str, Any]] = (part for part in (config, config.get("text_config")) if part)
    counts = (part.get("num_hidden_layers") or part.get("n_layer") for part in parts)
    return next((count for count in counts if count), None)
