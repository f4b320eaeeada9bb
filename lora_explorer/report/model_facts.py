"""A base model in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel

# The same fact under the names that families give it in config.json.
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head")
_EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts")


def model_facts(base_model: BaseModel) -> str:
    """32 layers · hidden 4,096 · 8 of 32 key-value heads · vocabulary 128,256: what its config.json says."""
    config = json.loads(base_model.config_json)
    # Models that also see keep the language model's sizes one level down.
    text_config = {**config, **config.get("text_config", {})}
    return " · ".join(_facts(text_config))


def _facts(config: Mapping[str, Any]) -> list[str]:
    layers, hidden, experts = _first(config, _LAYERS), _first(config, _HIDDEN), _first(config, _EXPERTS)
    facts = [f"{layers} layers" if layers else "", f"hidden {hidden:,}" if hidden else "", _heads(config)]
    facts.append(f"{experts} experts" if experts else "")
    vocabulary = _first(config, ("vocab_size",))
    facts.append(f"vocabulary {vocabulary:,}" if vocabulary else "")
    return [fact for fact in facts if fact]


def _heads(config: Mapping[str, Any]) -> str:
    heads, shared = _first(config, _HEADS), _first(config, ("num_key_value_heads",))
    if not heads:
        return ""
    return f"{shared} of {heads} key-value heads" if shared and shared != heads else words.counted(heads, "head")


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int)), None)


def facts_line(base_model: BaseModel, total_params: int) -> Html:
    """The name people know it by, its sizes, and its exact total."""
    name = join(tag("b", base_model.label), " from the uploaded file" if base_model.origin == "file" else None)
    total = tag("span", f"{words.exact_count(total_params)} parameters", id="base-params", data_value=total_params)
    return join(tag("p", name, " · ", total), tag("p", model_facts(base_model)))
