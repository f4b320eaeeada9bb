"""What each entry of the target settings matched, and what was probably meant where one matched nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from peft.tuners.tuners_utils import match_target_against_key
from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN, _MOE_TARGET_MODULE_MAPPING
from torch import nn

from lora_explorer.adapters.config import linear_names
from lora_explorer.adapters.result import ModuleCount, TargetCoverage
from lora_explorer.adapters.structure import Extra, Structure, Target
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.settings import Recipe

ALL_LINEAR = "all-linear"
_PATTERNS = ("lora_rank_pattern", "lora_alpha_pattern")


@dataclass(frozen=True)
class Entry:
    """One thing written in a target setting. is_regex: a single string, which must match the whole path."""

    key: str
    text: str
    is_regex: bool = False


def target_entries(recipe: Recipe, skeleton: Skeleton) -> tuple[Entry, ...]:
    """Every entry that can put a layer of PEFT's somewhere, what was written by hand first."""
    named = recipe.lora_target_modules or ()
    is_text = isinstance(named, str)
    listed = (named,) if isinstance(named, str) else named
    entries = [Entry("lora_target_modules", text, is_text and not recipe.lora_target_linear) for text in listed]
    entries += [Entry("lora_target_parameters", text) for text in recipe.target_parameter_names]
    if recipe.lora_target_linear:
        by_hand = {entry.text for entry in entries}
        entries += [Entry("lora_target_linear", name) for name in linear_names(skeleton.model) if name not in by_hand]
    return tuple(entries)


def explain_targets(recipe: Recipe, skeleton: Skeleton, structure: Structure) -> tuple[tuple[Entry, ...], ...]:
    """For each target, the entries that chose it, in the order of the targets."""
    entries = target_entries(recipe, skeleton)
    fused = fused_names(skeleton)
    return tuple(tuple(entry for entry in entries if _chose(entry, target, fused)) for target in structure.targets)


def explain_extra(recipe: Recipe, extra: Extra) -> Entry:
    """The entry that chose a module to be trained beside the adapter. PEFT compares plain endings here."""
    if extra.setting == "lora_modules_to_save":
        names: Iterable[str] = recipe.lora_modules_to_save
    else:
        indices = recipe.peft_trainable_token_indices
        names = indices if isinstance(indices, Mapping) else ()
    chosen = (name for name in names if extra.path.endswith(name))
    return Entry(extra.setting, next(chosen, extra.path.rpartition(".")[2]))


def cover_targets(
    entries: Sequence[Entry],
    explained: Sequence[tuple[Entry, ...]],
    modules: Sequence[ModuleCount],
    skeleton: Skeleton,
) -> tuple[TargetCoverage, ...]:
    """One row for each entry. modules: counted, in the order of the targets that `explained` explains."""
    matched: dict[Entry, list[ModuleCount]] = {entry: [] for entry in entries}
    for chosen_by, module in zip(explained, modules, strict=True):
        for entry in chosen_by:
            matched[entry].append(module)
    return tuple(_row(entry, found, skeleton) for entry, found in matched.items())


def cover_extras(recipe: Recipe, modules: Sequence[ModuleCount], skeleton: Skeleton) -> tuple[TargetCoverage, ...]:
    """One row for each module to save and for each embedding with trained rows."""
    written = [Entry("lora_modules_to_save", name) for name in recipe.lora_modules_to_save]
    found = {Entry(module.via, module.entry): [module] for module in modules}
    for module in modules:
        rows = found[Entry(module.via, module.entry)]
        if module not in rows:
            rows.append(module)
    return tuple(_row(entry, found.get(entry, []), skeleton) for entry in dict.fromkeys([*written, *found]))


def cover_patterns(recipe: Recipe, modules: Sequence[ModuleCount], skeleton: Skeleton) -> tuple[TargetCoverage, ...]:
    """One row for each key of the rank and alpha patterns, which PEFT matches as a regex from a dot to the end."""
    adapted = [module for module in modules if module.r is not None]
    rows = []
    for setting in _PATTERNS:
        for key in getattr(recipe, setting):
            pattern = re.compile(rf"(.*\.)?({key})$")
            found = [module for module in adapted if pattern.match(module.path)]
            rows.append(_row(Entry(setting, key), found, skeleton))
    return tuple(rows)


def names_in(skeleton: Skeleton) -> tuple[str, ...]:
    """Last path components of this model's modules with weights, and of its fused parameters."""
    names = {path.rpartition(".")[2] for path, _ in skeleton.model.named_modules() if path}
    owned = {
        path.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2] for path in _parameter_paths(skeleton)
    }
    return tuple(sorted(names & owned | owned))


def nearest_names(entry: str, skeleton: Skeleton) -> tuple[str, ...]:
    """Names this model has, closest to a written one first; at most three."""
    leaf = re.split(r"[.\\]", entry)[-1] or entry
    close = get_close_matches(leaf, names_in(skeleton), n=3, cutoff=0.5)
    return tuple(close)


def _parameter_paths(skeleton: Skeleton) -> list[str]:
    return [path for path, _ in skeleton.model.named_parameters()]


def _row(entry: Entry, found: Sequence[ModuleCount], skeleton: Skeleton) -> TargetCoverage:
    return TargetCoverage(
        key=entry.key,
        entry=entry.text,
        matched=len(found),
        layers=tuple(sorted({module.layer for module in found if module.layer is not None})),
        trainable_params=sum(module.trainable_params for module in found),
        nearest=() if found else nearest_names(entry.text, skeleton),
    )


def _chose(entry: Entry, target: Target, fused: Mapping[str, str]) -> bool:
    if entry.is_regex:
        return entry.text.lower() == ALL_LINEAR or _matches_regex(entry.text, target, fused)
    if _ends_with(target.path, entry.text):
        return True
    if target.parameter_name is None:
        return False
    new_name = fused.get(entry.text.rpartition(".")[2])
    return entry.key != "lora_target_parameters" and new_name is not None and _ends_with(target.path, new_name)


def _matches_regex(text: str, target: Target, fused: Mapping[str, str]) -> bool:
    if match_target_against_key(text, target.path):
        return True
    owner, _, name = target.path.rpartition(".")
    old_names = (old for old, new in fused.items() if new == name)
    return target.parameter_name is not None and any(
        match_target_against_key(text, f"{owner}.{old}") for old in old_names
    )


def _ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def fused_names(skeleton: Skeleton) -> Mapping[str, str]:
    """Old names of expert modules that PEFT translates to fused parameters, such as up_proj to gate_up_proj."""
    family = _MODEL_TO_CONVERSION_PATTERN.get(skeleton.config.model_type)
    names: Mapping[str, str] = _MOE_TARGET_MODULE_MAPPING.get(family, {})
    return names


@lru_cache(maxsize=16)
def fused_expert_paths(skeleton: Skeleton) -> tuple[str, ...]:
    """Paths of the parameters that hold a matrix for each of several experts."""
    return tuple(path for path, parameter in skeleton.model.named_parameters() if _is_fused_experts(path, parameter))


def _is_fused_experts(path: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 3 and "expert" in path and not path.endswith(("bias", "conv1d.weight"))
