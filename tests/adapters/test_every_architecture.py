"""Every causal architecture of the installed transformers: the plan's numbers are PEFT's own numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from adapters.architectures import (
    MODEL_TYPES,
    Adapter,
    Names,
    inject,
    names_in,
    planned_by_module,
    small_skeleton,
    trained_by_module,
)
from adapters.conftest import Covered
from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models.skeleton import BUILD_FAILURES, Skeleton
from lora_explorer.errors import AdapterRefused
from lora_explorer.settings import recipe_from

FEWEST_ARCHITECTURES = 140
BASE = {"adapter": "lora", "lora_r": 6, "lora_alpha": 12, "learning_rate": 1e-4}


def adapters_for(names: Names) -> Mapping[str, Adapter]:
    """Six adapters, each on another path through PEFT."""
    linear, inner = list(names.linear), list(names.inner)
    first, last = inner[0], inner[-1]
    whole = [names.embedding] + ([names.head] if names.head else [])
    return {
        "target linear, DoRA": Adapter(
            {"lora_target_linear": True, "peft_use_dora": True}, {"target_modules": linear, "use_dora": True}
        ),
        "all-linear": Adapter({"lora_target_modules": "all-linear"}, {"target_modules": "all-linear"}),
        "two names, rank-stabilised": Adapter(
            {"lora_target_modules": inner, "peft_use_rslora": True, "peft_use_dora": True},
            {"target_modules": inner, "use_rslora": True, "use_dora": True},
        ),
        "one layer, patterns": Adapter(
            {
                "lora_target_modules": inner,
                "peft_layers_to_transform": [1],
                "lora_rank_pattern": {first: 3},
                "lora_alpha_pattern": {last: 5},
            },
            {
                "target_modules": inner,
                "layers_to_transform": [1],
                "rank_pattern": {first: 3},
                "alpha_pattern": {last: 5},
            },
        ),
        "embedding and head in full": Adapter(
            {"lora_target_linear": True, "lora_modules_to_save": whole},
            {"target_modules": linear, "modules_to_save": whole},
        ),
        "token rows": Adapter(
            {"lora_target_modules": inner, "peft_trainable_token_indices": [0, 1, 5]},
            {"target_modules": inner, "trainable_token_indices": [0, 1, 5]},
        ),
    }


Counted = tuple[int, int, Mapping[str, int]]
# A refusal instead of counts: PEFT's has no fixed form, ours is one sentence.
REFUSED = "refused in one sentence"


def counted_by_peft(skeleton: Skeleton, adapter: Adapter) -> Counted | str:
    """Trainable and all parameters and the trainable ones of each module; REFUSED where PEFT refuses."""
    try:
        model = inject(skeleton, {"r": 6, "lora_alpha": 12, **adapter.config})
    except BUILD_FAILURES:
        return REFUSED
    return (*model.get_nb_trainable_parameters(), trained_by_module(model))


def planned(skeleton: Skeleton, adapter: Adapter) -> Counted | str:
    try:
        plan = plan_adapter(recipe_from({**BASE, **adapter.settings}), skeleton)
    except AdapterRefused as refusal:
        return REFUSED if is_one_sentence(str(refusal)) else str(refusal)
    return plan.trainable_params, plan.all_params, planned_by_module(plan, skeleton)


def is_one_sentence(text: str) -> bool:
    return text.endswith((".", "…")) and "\n" not in text and len(text) < 400


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_counts_equal_what_peft_injects(model_type: str, covered: Covered) -> None:
    skeleton = small_skeleton(model_type)
    if skeleton is None:
        covered.not_built.append(model_type)
        return
    adapters = adapters_for(names_in(skeleton.model))
    expected = {name: counted_by_peft(skeleton, adapter) for name, adapter in adapters.items()}
    assert {name: planned(skeleton, adapter) for name, adapter in adapters.items()} == expected
    refused = sum(1 for count in expected.values() if count == REFUSED)
    covered.equal[model_type] = len(expected) - refused
    covered.refused[model_type] = refused


def test_enough_architectures_are_covered(covered: Covered) -> None:
    """Runs after the others of this file, on what they found."""
    accepted = [name for name, settings in covered.equal.items() if settings]
    assert len(accepted) >= FEWEST_ARCHITECTURES
