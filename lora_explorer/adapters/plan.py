"""The adapter plan: what a recipe trains in a base model, exactly as PEFT counts it, fast enough for a slider."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from peft.utils.constants import EMBEDDING_LAYER_NAMES

from lora_explorer.adapters.config import adapter_dtype, base_dtype, lora_config
from lora_explorer.adapters.coverage import (
    Entry,
    cover_extras,
    cover_patterns,
    cover_targets,
    explain_extra,
    explain_targets,
    target_entries,
)
from lora_explorer.adapters.layer_count import LayerCount, count_key, count_layers
from lora_explorer.adapters.mismatch import find_impossible, find_surprises
from lora_explorer.adapters.refusal import refusals_as_findings
from lora_explorer.adapters.result import AdapterPlan, ModuleCount
from lora_explorer.adapters.structure import Extra, Structure, Target, find_structure, structural
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import InvalidSettings
from lora_explorer.findings import errors_among
from lora_explorer.settings import Recipe, find_problems

# A head that no entry names gets a layer of its own only where it follows the embedding it is tied to.
_BY_TYING = Entry("peft_ensure_weight_tying", "true")


def plan_adapter(recipe: Recipe, skeleton: Skeleton) -> AdapterPlan:
    """Plan and count. Raises InvalidSettings, or AdapterRefused with PEFT's reason."""
    errors = errors_among((*find_problems(recipe), *find_impossible(recipe, skeleton)))
    if errors:
        raise InvalidSettings(errors)
    if not recipe.adapter:
        return _full_fine_tuning(skeleton)
    with refusals_as_findings(recipe, skeleton):
        explained = _explained(structural(recipe), skeleton)
        layers = count_layers(explained.structure.targets, lora_config(recipe, skeleton.model))
    return _counted_plan(recipe, skeleton, explained, layers)


def adapted_layers(recipe: Recipe, skeleton: Skeleton) -> Mapping[str, LayerCount]:
    """What PEFT adds at each adapted module or parameter, by its path; for a recipe that `plan_adapter` accepts."""
    if not recipe.adapter:
        return {}
    with refusals_as_findings(recipe, skeleton):
        targets = _explained(structural(recipe), skeleton).structure.targets
        layers = count_layers(targets, lora_config(recipe, skeleton.model))
    return {target.path: layers[count_key(target)] for target in targets}


@dataclass(frozen=True)
class _Explained:
    """What does not change while the rank moves."""

    structure: Structure
    entries: tuple[Entry, ...]
    chosen_by: tuple[tuple[Entry, ...], ...]


@lru_cache(maxsize=256)
def _explained(recipe: Recipe, skeleton: Skeleton) -> _Explained:
    structure = find_structure(recipe, skeleton)
    return _Explained(structure, target_entries(recipe, skeleton), explain_targets(recipe, skeleton, structure))


def _counted_plan(
    recipe: Recipe, skeleton: Skeleton, explained: _Explained, layers: Mapping[Hashable, LayerCount]
) -> AdapterPlan:
    structure = explained.structure
    adapted = tuple(
        _adapted(target, layers[count_key(target)], entries[0] if entries else _BY_TYING, skeleton)
        for target, entries in zip(structure.targets, explained.chosen_by, strict=True)
    )
    extras = tuple(_extras(recipe, structure, skeleton))
    coverage = (
        *cover_targets(explained.entries, explained.chosen_by, adapted, skeleton),
        *cover_extras(recipe, extras, skeleton),
        *cover_patterns(recipe, adapted, skeleton),
    )
    modules = (*adapted, *extras)
    return AdapterPlan(
        base_params=structure.frozen_params,
        added_params=sum(layers[count_key(target)].added_params for target in structure.targets)
        + sum(extra.trainable_params for extra in extras),
        modules=modules,
        coverage=coverage,
        adapter_file_bytes=_file_bytes(recipe, skeleton, adapted, structure.extras),
        num_layers=max((module.layer + 1 for module in modules if module.layer is not None), default=0)
        if recipe.peft_layer_replication
        else skeleton.num_layers,
        findings=find_surprises(recipe, skeleton, modules, coverage),
    )


def _adapted(target: Target, count: LayerCount, entry: Entry, skeleton: Skeleton) -> ModuleCount:
    return ModuleCount(
        path=target.path,
        kind=target.path.rpartition(".")[2],
        layer=skeleton.layer_of(target.path),
        shape=target.shape,
        r=count.r,
        alpha=count.alpha,
        scaling=count.scaling,
        trainable_params=count.trainable_params,
        via=entry.key,
        entry=entry.text,
    )


def _extras(recipe: Recipe, structure: Structure, skeleton: Skeleton) -> Iterator[ModuleCount]:
    for extra in structure.extras:
        entry = explain_extra(recipe, extra)
        yield _whole(extra.path, extra.shape, extra.trainable_params, entry, skeleton)


def _whole(path: str, shape: tuple[int, ...], params: int, entry: Entry, skeleton: Skeleton) -> ModuleCount:
    return ModuleCount(
        path=path,
        kind=path.rpartition(".")[2],
        layer=skeleton.layer_of(path),
        shape=shape,
        r=None,
        alpha=None,
        scaling=None,
        trainable_params=params,
        via=entry.key,
        entry=entry.text,
    )


def _full_fine_tuning(skeleton: Skeleton) -> AdapterPlan:
    """Without an adapter every parameter is trained, tied ones once."""
    everything = Entry("adapter", "")
    modules = tuple(
        _whole(path.removesuffix(".weight"), tuple(parameter.shape), parameter.numel(), everything, skeleton)
        for path, parameter in skeleton.model.named_parameters()
    )
    file_bytes = skeleton.total_params * torch.bfloat16.itemsize
    return AdapterPlan(skeleton.total_params, 0, modules, (), file_bytes, skeleton.num_layers)


def _file_bytes(recipe: Recipe, skeleton: Skeleton, adapted: Sequence[ModuleCount], extras: Sequence[Extra]) -> int:
    """Tensors PEFT saves: A, B and token rows in the adapter's dtype; whole copies and embeddings in the base's."""
    whole_dtype = torch.float32 if recipe.load_in_4bit or recipe.load_in_8bit else base_dtype(recipe)
    whole = sum(extra.saved_params for extra in extras if extra.setting == "lora_modules_to_save")
    rows = sum(extra.saved_params for extra in extras) - whole
    layers = sum(module.trainable_params for module in adapted)
    adapter_bytes = (layers + rows) * adapter_dtype(recipe).itemsize
    return adapter_bytes + whole * whole_dtype.itemsize + _embedding_bytes(recipe, skeleton, whole_dtype)


def _embedding_bytes(recipe: Recipe, skeleton: Skeleton, dtype: torch.dtype) -> int:
    # PEFT saves the base weights of embedding and head as soon as one of them is named as a target module.
    named = recipe.lora_target_modules
    if not isinstance(named, tuple) or not any(name in EMBEDDING_LAYER_NAMES for name in named):
        return 0
    model = skeleton.model
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    # Tied ones are written twice.
    weights = (weight for module in embeddings if module is not None for weight in module.parameters())
    return sum(weight.numel() for weight in weights) * dtype.itemsize
