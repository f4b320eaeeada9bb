"""A base model on the meta device: real modules of transformers, real shapes, no bytes."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from threading import RLock
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.initialization import no_init_weights
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from lora_explorer.base_models.model_source import BaseModel
from lora_explorer.errors import UnknownBaseModel

# What transformers' model classes raise on a config they cannot build, seen over all of its causal language models.
BUILD_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
_NEEDED = ("num_hidden_layers", "hidden_size", "vocab_size")
_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
# Of the decoder of a model that also has an encoder, whose layers num_hidden_layers counts.
_DECODER_LAYER_COUNTS = ("decoder_layers", "num_decoder_layers")
_OTHER_SPELLINGS = {
    "num_hidden_layers": (*_LAYER_COUNTS, "num_decoder_layers", "layers_block_type"),
    "hidden_size": ("n_embd", "d_model", "dim", "n_embed"),
}
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Skeleton:
    """The model of one architecture on meta, shared by all who read it.

    model: never trained and never changed for good; who changes it for a moment holds `lock` and restores it.
    layer_paths: the path of each decoder layer, such as "model.layers.0".
    total_params: tied weights once.
    """

    config_json: str = field(repr=False)
    model: PreTrainedModel = field(repr=False, compare=False)
    total_params: int
    layer_paths: tuple[str, ...] = field(repr=False)
    lock: Any = field(default_factory=RLock, repr=False, compare=False)

    @property
    def num_layers(self) -> int:
        return len(self.layer_paths)

    @property
    def config(self) -> PreTrainedConfig:
        return self.model.config

    def new_model(self) -> PreTrainedModel:
        """The same model again, for those who change it for good."""
        # Not from the model's own config: some families build a text model from a part of theirs.
        return build_on_meta(_config_from(self.config_json))

    def layer_of(self, path: str) -> int | None:
        """The decoder layer a path lies in; None outside of them."""
        container = self.layer_paths[0].rpartition(".")[0] if self.layer_paths else ""
        inside = path.removeprefix(f"{container}.")
        index = inside.partition(".")[0]
        return int(index) if inside != path and index.isdigit() else None


@lru_cache(maxsize=16)
def _skeleton_of(config_json: str) -> Skeleton:
    model = build_on_meta(_config_from(config_json))
    model.requires_grad_(False)
    layer_paths = _layer_paths(model)
    if not layer_paths:
        raise _refusal("The config.json describes a model without layers.")
    return Skeleton(
        config_json=config_json,
        model=model,
        total_params=sum(parameter.numel() for parameter in model.parameters()),
        layer_paths=layer_paths,
    )


def load_skeleton(base_model: BaseModel) -> Skeleton:
    """The skeleton of a base model, built once for each architecture. Raises UnknownBaseModel."""
    return _skeleton_of(base_model.config_json)


def model_config(base_model: BaseModel) -> PreTrainedConfig:
    """A fresh transformers config. Raises UnknownBaseModel for what transformers does not know or cannot read."""
    return _config_from(base_model.config_json)


def _config_from(config_json: str) -> PreTrainedConfig:
    facts = json.loads(config_json, object_hook=_read_infinity)
    model_type = facts.pop("model_type")
    if model_type not in CONFIG_MAPPING:
        raise _refusal(f"transformers does not know the model_type {model_type!r}.")
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and model_type not in (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    ):
        raise _refusal(f"A {model_type} model is not a causal language model, so it cannot be trained here.")
    _check_architectures(model_type, facts.get("architectures"))
    config_class = CONFIG_MAPPING[model_type]
    _check_needed_sizes(config_class, facts)
    try:
        return config_class(**facts)
    except BUILD_FAILURES as error:
        raise _refusal(f"transformers cannot read this {model_type} config: {_first_line(error)}") from error


def _read_infinity(found: dict[str, Any]) -> Any:
    """transformers writes an infinite bound, which JSON has no number for, as {"__float__": "Infinity"}."""
    return _INFINITIES.get(str(found.get("__float__")), found)


def build_on_meta(config: PreTrainedConfig, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """A new model without weights. dtype: of its parameters. Raises UnknownBaseModel."""
    causal = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    auto_class = AutoModelForCausalLM if causal else AutoModelForImageTextToText
    try:
        with torch.device("meta"), no_init_weights(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: PreTrainedModel = auto_class.from_config(  # type: ignore[no-untyped-call]
                copy.deepcopy(config), dtype=dtype
            )
            if any(parameter.device.type != "meta" for parameter in model.parameters()):
                # Old constructors such as torch.FloatTensor always make their tensors on the host.
                nn.Module.to(model, "meta")
            # Without weights to initialise transformers leaves this out, and tied weights would count twice.
            model.tie_weights()
            return model
    except BUILD_FAILURES as error:
        reason = _unknown_choice(config, error) or _first_line(error)
        raise _refusal(f"transformers cannot build this {config.model_type} model: {reason}") from error


def with_layers(config: PreTrainedConfig, count: int) -> PreTrainedConfig:
    """A copy of a config that keeps the first `count` decoder layers, lists of one value a layer cut to match.

    Raises UnknownBaseModel for a config that does not say how many layers there are.
    """
    shallow = copy.deepcopy(config)
    text = shallow.get_text_config()
    name = next((name for name in _LAYER_COUNTS if isinstance(getattr(text, name, None), int)), None)
    if name is None:
        raise _refusal(f"The config of this {config.model_type} model does not say how many layers it has.")
    full = getattr(text, name)
    overrides = _per_layer_overrides(text)
    # They are checked against the number of layers, so they come off before it changes.
    text.per_layer_config = None
    for counted in (name, *_DECODER_LAYER_COUNTS):
        if isinstance(getattr(text, counted, None), int):
            setattr(text, counted, count)
    for key, value in vars(text).items():
        if isinstance(value, list) and len(value) == full:
            setattr(text, key, value[:count])
    text.per_layer_config = {layer: values for layer, values in overrides.items() if layer < count} or None
    return shallow


def _per_layer_overrides(config: PreTrainedConfig) -> dict[int, dict[str, Any]]:
    """What single layers have otherwise than the rest, by layer; empty where all layers follow one config."""
    if not config.is_heterogeneous:
        return {}
    written: dict[int | str, dict[str, Any]] = config.to_dict().get("per_layer_config") or {}
    return {int(layer): dict(values) for layer, values in written.items()}


def _check_architectures(model_type: str, architectures: list[str] | None) -> None:
    """Refuse a checkpoint of another task, such as a masked language model, whose model_type has a causal form too."""
    if not architectures or not isinstance(architectures, list):
        return
    causal = (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type),
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(model_type),
    )
    if not any(name in causal or "CausalLM" in str(name) or "LMHead" in str(name) for name in architectures):
        raise _refusal(f"{architectures[0]} is not a causal language model, so it cannot be trained here.")


def _check_needed_sizes(config_class: type[PreTrainedConfig], facts: dict[str, Any]) -> None:
    # transformers fills a missing size in with that of some other model; a nested config may leave out what is usual.
    if config_class.sub_configs:
        return
    aliases = config_class.attribute_map
    missing = [
        name
        for name in _NEEDED
        if name not in facts and aliases.get(name) not in facts and not _is_alias_given(name, facts)
    ]
    if missing:
        raise _refusal(f"The config.json does not say {' and '.join(missing)}.")


def _is_alias_given(name: str, facts: dict[str, Any]) -> bool:
    return any(spelling in facts for spelling in _OTHER_SPELLINGS.get(name, ()))


def _layer_paths(model: PreTrainedModel) -> tuple[str, ...]:
    """The longest list of modules under the language model is its decoder layers."""
    expected = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = list(_module_lists(model))
    exact = [found for found in lists if len(found[1]) == expected]
    candidates = exact or lists
    if not candidates:
        return ()
    path, layers = max(candidates, key=lambda found: sum(p.numel() for p in found[1].parameters()))
    return tuple(f"{path}.{index}" for index in range(len(layers)))


def _module_lists(model: PreTrainedModel) -> Iterator[tuple[str, nn.ModuleList]]:
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            yield path, module


def _unknown_choice(config: PreTrainedConfig, error: BaseException) -> str | None:
    """A sentence for a name that transformers looked up in vain, such as an activation: all it says is the name."""
    wanted = error.args[0] if isinstance(error, KeyError) and error.args else None
    key = next(_keys_with(wanted, config.to_dict()), None) if isinstance(wanted, str) else None
    return key and f"it knows no {key} called {wanted!r}."


def _keys_with(wanted: str, facts: dict[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        if value == wanted:
            yield key
        elif isinstance(value, dict):
            yield from _keys_with(wanted, value)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
    text = str(cause).strip().splitlines()
    line = text[0] if text else type(cause).__name__
    return line if line.endswith(".") else f"{line}."


def _refusal(sentence: str) -> UnknownBaseModel:
    return UnknownBaseModel(sentence, setting="base_model")
