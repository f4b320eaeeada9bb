"""Names a target setting can hold in this model, each with its price."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from torch import nn
from transformers.pytorch_utils import Conv1D

from lora_explorer.adapters.config import lora_config
from lora_explorer.adapters.coverage import fused_expert_paths, fused_names
from lora_explorer.adapters.layer_count import count_key, count_layers
from lora_explorer.adapters.result import Candidate
from lora_explorer.adapters.structure import Target, target_at
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.settings import Recipe, recipe_from

ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)
_INSIDE_LAYER = re.compile(r"^.*?\.\d+\.")


def find_candidates(recipe: Recipe, skeleton: Skeleton) -> tuple[Candidate, ...]:
    """Every name worth listing for the target settings, priced at the recipe's rank."""
    return _priced(recipe.lora_r or 1, skeleton, use_dora=recipe.peft_use_dora)


@lru_cache(maxsize=64)
def _priced(rank: int, skeleton: Skeleton, *, use_dora: bool) -> tuple[Candidate, ...]:
    recipe = recipe_from({"adapter": "lora", "lora_r": rank, "lora_alpha": 1, "peft_use_dora": use_dora})
    plain = recipe.changed(peft_use_dora=False)
    return (
        *_adapted("lora_target_modules", _modules(skeleton, with_experts=not use_dora), recipe, skeleton),
        *_adapted("lora_target_parameters", _experts(skeleton), plain, skeleton),
        *_whole(skeleton),
    )


def _adapted(key: str, targets: dict[str, list[Target]], recipe: Recipe, skeleton: Skeleton) -> Iterator[Candidate]:
    layers = count_layers(
        [target for group in targets.values() for target in group], lora_config(recipe, skeleton.model)
    )
    for name, group in targets.items():
        yield Candidate(key, name, len(group), sum(layers[count_key(target)].trainable_params for target in group))


def _modules(skeleton: Skeleton, *, with_experts: bool) -> dict[str, list[Target]]:
    """Modules by name; with experts, by the names they had before they were fused. PEFT has no DoRA for those."""
    adaptable = ((path, module) for path, module in skeleton.model.named_modules() if isinstance(module, ADAPTABLE))
    groups = _grouped((path.rpartition(".")[2], target_at(path, module)) for path, module in adaptable)
    experts = _experts(skeleton) if with_experts else {}
    for old_name, new_name in fused_names(skeleton).items():
        fused = [target for name, targets in experts.items() if name.endswith(f".{new_name}") for target in targets]
        # PEFT then reaches the fused experts in place of the linear modules of that name.
        if old_name in groups and fused:
            groups[old_name] = fused
    return groups


def _experts(skeleton: Skeleton) -> dict[str, list[Target]]:
    return _grouped(
        (_INSIDE_LAYER.sub("", path), target_at(path, skeleton.model.get_submodule(owner), name))
        for path in fused_expert_paths(skeleton)
        for owner, _, name in [path.rpartition(".")]
    )


def _whole(skeleton: Skeleton) -> Iterator[Candidate]:
    """Embedding, head and norms: what is trained in full when tokens are added or norms are tuned."""
    modules = dict(skeleton.model.named_modules())
    for name in dict.fromkeys(path.rpartition(".")[2] for path, module in modules.items() if _is_whole(path, module)):
        # PEFT compares plain endings here, so that `norm` is `input_layernorm` too.
        reached = [module for path, module in modules.items() if path.endswith(name)]
        params = {parameter for module in reached for parameter in module.parameters()}
        yield Candidate("lora_modules_to_save", name, len(reached), sum(parameter.numel() for parameter in params))


def _is_whole(path: str, module: nn.Module) -> bool:
    name = path.rpartition(".")[2]
    named = isinstance(module, nn.Embedding) or name == "lm_head" or "norm" in name.lower()
    return named and any(True for _ in module.parameters(recurse=False))


def _grouped(named: Iterable[tuple[str, Target]]) -> dict[str, list[Target]]:
    groups: dict[str, list[Target]] = {}
    for name, target in named:
        groups.setdefault(name, []).append(target)
    return groups
