"""Small models of every causal architecture of transformers, and PEFT's own count of an adapter on them.

Nothing here uses lora_explorer's reading of a recipe: configurations for PEFT are written out by hand, so that the
two sides of a comparison share no code but PEFT's.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from lora_explorer.adapters import AdapterPlan
from lora_explorer.base_models import base_model_from_config
from lora_explorer.base_models.skeleton import BUILD_FAILURES, Skeleton, load_skeleton, with_layers
from lora_explorer.errors import UnknownBaseModel

MODEL_TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
# Some architectures need at least one layer of each of their kinds.
_DEPTHS = (2, 4, 8)
_MARKS = (".lora_", ".modules_to_save.", ".token_adapter.")


@lru_cache(maxsize=2)
def small_skeleton(model_type: str) -> Skeleton | None:
    """A model with few layers at its default widths, built from the text of its config.json; None if none builds."""
    return next(_skeletons(model_type), None)


def _skeletons(model_type: str) -> Iterator[Skeleton]:
    for depth in (*_DEPTHS, None):
        try:
            full = CONFIG_MAPPING[model_type]()
            config = full if depth is None else with_layers(full, depth)
            yield load_skeleton(base_model_from_config(config.to_json_string(use_diff=False), model_type))
        except (UnknownBaseModel, StopIteration, *BUILD_FAILURES):
            continue


@dataclass(frozen=True)
class Names:
    """What a setting can name in one model. inner: two adaptable modules of the last layer."""

    linear: tuple[str, ...]
    inner: tuple[str, ...]
    embedding: str
    head: str | None


def names_in(model: PreTrainedModel) -> Names:
    paths = {id(module): path for path, module in model.named_modules()}
    adaptable = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    inner = dict.fromkeys(_leaf(path) for path in adaptable if any(part.isdigit() for part in path.split(".")))
    head = model.get_output_embeddings()
    return Names(
        linear=tuple(
            sorted({_leaf(path) for path, module in model.named_modules() if _is_linear(module)} - {"lm_head"})
        ),
        inner=tuple(list(inner)[:2]),
        embedding=_leaf(paths[id(model.get_input_embeddings())]),
        head=_leaf(paths[id(head)]) if head is not None else None,
    )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or "Linear" in type(module).__name__


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


@dataclass(frozen=True)
class Adapter:
    """One adapter, written twice: as a recipe's settings and as PEFT's configuration."""

    settings: Mapping[str, Any]
    config: Mapping[str, Any]


def inject(skeleton: Skeleton, options: Mapping[str, Any]) -> PeftModel:
    """PEFT's own model on meta. Raises whatever PEFT raises."""
    model = skeleton.new_model()
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))


def trained_by_module(model: PeftModel) -> Mapping[str, int]:
    """Trainable parameters by the path of the base module they belong to, shared ones once."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            end = min(name.find(mark) for mark in _MARKS if mark in name)
            counts[name[:end].removeprefix("base_model.model.").replace(".base_layer", "")] += parameter.numel()
    return counts


def planned_by_module(plan: AdapterPlan, skeleton: Skeleton) -> Mapping[str, int]:
    """The same from a plan; what is trained of a single parameter belongs to the module that holds it."""
    modules = {path for path, _ in skeleton.model.named_modules()}
    counts: Counter[str] = Counter()
    for module in plan.modules:
        owner = module.path if module.path in modules else module.path.rpartition(".")[0]
        counts[owner] += module.trainable_params
    return +counts
