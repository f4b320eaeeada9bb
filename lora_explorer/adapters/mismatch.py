"""What does not fit between a recipe and a base model, or fits but is probably not meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

from lora_explorer.adapters.coverage import fused_expert_paths
from lora_explorer.adapters.result import ModuleCount, TargetCoverage
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.findings import Finding, Fix, Outcome
from lora_explorer.settings import Recipe


def find_impossible(recipe: Recipe, skeleton: Skeleton) -> tuple[Finding, ...]:
    """Errors that are plain before anything is matched."""
    return (
        *_layers_out_of_range(recipe, skeleton),
        *_rows_out_of_range(recipe, skeleton),
        *_rows_of_no_embedding(recipe, skeleton),
    )


def find_surprises(
    recipe: Recipe, skeleton: Skeleton, modules: Sequence[ModuleCount], coverage: Sequence[TargetCoverage]
) -> tuple[Finding, ...]:
    """Warnings about what was matched."""
    return (
        *_unmatched(coverage, modules),
        *_rows_of_saved_embedding(recipe, skeleton),
        *_untrained_experts(skeleton, modules),
        *_tied_twice(recipe, skeleton, modules),
        *_vision_adapted(skeleton, modules),
    )


def _layers_out_of_range(recipe: Recipe, skeleton: Skeleton) -> Iterator[Finding]:
    last = skeleton.num_layers - 1
    outside = sorted({index for index in recipe.peft_layers_to_transform if index > last})
    if outside:
        inside = tuple(index for index in recipe.peft_layers_to_transform if index <= last)
        message = f"peft_layers_to_transform: there is no layer {_listed(outside)}; this model has layers 0 to {last}."
        # PEFT adapts the layers that there are, and ends where there is none of them.
        outcome: Outcome = "changes" if inside else "fails at load"
        fix: Fix = (("peft_layers_to_transform", inside),) if inside else ()
        yield Finding("peft_layers_to_transform", "error", message, outcome=outcome, fix=fix)
    if any(not 0 <= start < end <= skeleton.num_layers for start, end in recipe.peft_layer_replication):
        yield _error(
            "peft_layer_replication",
            f"peft_layer_replication: each range must lie within [0, {skeleton.num_layers}] and end after its start.",
        )


def _rows_out_of_range(recipe: Recipe, skeleton: Skeleton) -> Iterator[Finding]:
    indices = recipe.peft_trainable_token_indices or ()
    lists = indices.values() if isinstance(indices, dict) else (indices,)
    rows = skeleton.config.get_text_config().vocab_size
    outside = sorted({index for rows_named in lists for index in rows_named if index >= rows})
    if outside:
        yield _error(
            "peft_trainable_token_indices",
            f"peft_trainable_token_indices: there is no token {_listed(outside)}; the vocabulary ends at {rows - 1:,}.",
        )


def _rows_of_no_embedding(recipe: Recipe, skeleton: Skeleton) -> Iterator[Finding]:
    indices = recipe.peft_trainable_token_indices
    named = indices if isinstance(indices, dict) else ()
    tables = [path for path, module in skeleton.model.named_modules() if isinstance(module, (nn.Embedding, nn.Linear))]
    for name in named:
        if not any(path.endswith(name) for path in tables):
            yield _error(
                "peft_trainable_token_indices",
                f"peft_trainable_token_indices: {name} is neither an embedding nor the head of this model.",
            )


def _rows_of_saved_embedding(recipe: Recipe, skeleton: Skeleton) -> Iterator[Finding]:
    """PEFT injects both, one around the other; the forward pass of the two then fails."""
    indices = recipe.peft_trainable_token_indices
    if not indices:
        return
    embedding = skeleton.model.get_input_embeddings()
    paths = [path for path, module in skeleton.model.named_modules() if module is embedding]
    named = indices if isinstance(indices, dict) else [path.rpartition(".")[2] for path in paths]
    for name in sorted({*named} & {*recipe.lora_modules_to_save}):
        yield Finding(
            "peft_trainable_token_indices",
            "warning",
            f"peft_trainable_token_indices: lora_modules_to_save trains all of {name} already, and no training step "
            "comes through both; name it in one of the two only.",
        )


def _unmatched(coverage: Sequence[TargetCoverage], modules: Sequence[ModuleCount]) -> Iterator[Finding]:
    for row in coverage:
        if row.matched == 0:
            yield Finding(row.key, "warning", f"{row.key}: {_why_unmatched(row, modules)}", outcome="drops")


def _why_unmatched(row: TargetCoverage, modules: Sequence[ModuleCount]) -> str:
    at_entry = (module for module in modules if f".{module.path}".endswith(f".{row.entry}"))
    takers = sorted({module.via for module in at_entry} - {row.key})
    if takers:
        return f"{row.entry} is taken by {' and '.join(takers)}, so that nothing of it is left here."
    if row.entry in row.nearest:
        return f"{row.entry} matches nothing that is adapted, though this model has modules of that name."
    nearest = f" The nearest here: {', '.join(row.nearest)}." if row.nearest else ""
    return f"{row.entry} matches nothing in this model.{nearest}"


def _untrained_experts(skeleton: Skeleton, modules: Sequence[ModuleCount]) -> Iterator[Finding]:
    experts = fused_expert_paths(skeleton)
    trained = {module.path for module in modules}
    if experts and trained.isdisjoint(experts):
        names = sorted({re.sub(r"^.*\.\d+\.", "", path) for path in experts})
        yield Finding(
            "lora_target_parameters",
            "warning",
            "The experts hold most of this model and are not adapted: they are fused parameters, not linear modules.",
            f"lora_target_parameters: [{', '.join(names)}]",
        )


def _tied_twice(recipe: Recipe, skeleton: Skeleton, modules: Sequence[ModuleCount]) -> Iterator[Finding]:
    saved = {module.path for module in modules if module.via == "lora_modules_to_save"}
    if recipe.peft_ensure_weight_tying or len(saved) < 2:
        return
    if len(saved & _tied_paths(skeleton)) > 1:
        yield Finding(
            "lora_modules_to_save",
            "warning",
            "This model ties its embedding and head; saving both trains two copies of one matrix and counts it twice.",
            "peft_ensure_weight_tying: true",
            fix=(("peft_ensure_weight_tying", True),),
        )


def _tied_paths(skeleton: Skeleton) -> set[str]:
    """The modules that share the embedding's matrix, itself among them."""
    shared = skeleton.model.get_input_embeddings().weight
    return {path for path, module in skeleton.model.named_modules() if getattr(module, "weight", None) is shared}


def _vision_adapted(skeleton: Skeleton, modules: Sequence[ModuleCount]) -> Iterator[Finding]:
    seeing = sum(1 for module in modules if re.search(r"vision|visual|multi_modal|image|audio", module.path))
    if seeing:
        yield Finding(
            "lora_target_modules",
            "warning",
            f"{seeing} of the adapted modules belong to this model's vision or audio part; a regex can keep them out.",
        )


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown}, …"


def _error(setting: str, message: str) -> Finding:
    return Finding(setting, "error", message)
