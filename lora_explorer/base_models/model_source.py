"""From the name of a base model to its config.json: a preset, an upload, a local folder, or the Hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_explorer.base_models.hub import fetch_config
from lora_explorer.base_models.preset import PresetModel, find_preset, nearest_preset
from lora_explorer.errors import UnknownBaseModel

Origin = Literal["preset", "file", "folder", "hub"]

CONFIG_BYTES = 1 << 20
MOST_LAYERS = 1024
MOST_HEADS_OR_EXPERTS = 1 << 14
MOST_EXPERTS_IN_ALL = 1 << 16
WIDEST = 1 << 25
DEEPEST_NESTING = 16
LONGEST_NAME = 1000

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# Looked for first: vocab_size_per_layer_input and moe_shared_expert_intermediate_size are widths.
_WIDTH = re.compile(r"size|dim|vocab|rank")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_WIDTHS = ("hidden_size", "vocab_size", "n_embd", "d_model")
_DEPTHS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
_LAYER_COUNT = re.compile(r"layer|block|depth|repeat")
_HEAD_OR_EXPERT_COUNT = re.compile(r"head|expert|group")


@dataclass(frozen=True)
class Access:
    """What a visitor may use. On a public page folders are refused."""

    hub: bool = True
    folders: bool = True


@dataclass(frozen=True)
class BaseModel:
    """A base model's architecture.

    name: as written in `base_model`. config_json: its config.json in canonical form, so that equal architectures
    are equal. total_params: the published number, for presets only.
    """

    name: str
    origin: Origin
    config_json: str
    label: str
    total_params: int | None = None


def find_base_model(name: str | None, access: Access = Access()) -> BaseModel:
    """Look a base model up. Raises UnknownBaseModel with one sentence on what to do instead."""
    if not name or not name.strip():
        raise _refusal("Choose a base model: base_model is empty.")
    name = name.strip()
    if len(name) > LONGEST_NAME:
        raise _refusal(
            f"base_model is {len(name):,} characters long; at most {LONGEST_NAME} can be a name or a folder."
        )
    preset = find_preset(name)
    if preset:
        return _from_preset(preset, name)
    if _is_path(name, access):
        return _from_folder(name, access)
    return _from_hub(name, access)


def base_model_from_config(text: str, name: str = "config.json") -> BaseModel:
    """A base model from the text of a config.json. Raises UnknownBaseModel."""
    return BaseModel(name=name, origin="file", config_json=_checked(text), label=name)


def _from_preset(preset: PresetModel, name: str) -> BaseModel:
    return BaseModel(name, "preset", preset.config_json, preset.label, preset.total_params)


def _is_path(name: str, access: Access) -> bool:
    # On a public page not even whether a folder exists may be told.
    return name.startswith((".", "/", "~")) or "\\" in name or (access.folders and _is_folder(name))


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def _from_folder(name: str, access: Access) -> BaseModel:
    if not access.folders:
        raise _refusal("Folders cannot be read on a public page; upload the config.json instead.")
    return BaseModel(name, "folder", _checked(_folder_text(name)), name)


def _folder_text(name: str) -> str:
    try:
        file = Path(name).expanduser() / "config.json"
        if not file.is_file():
            raise _refusal(f"There is no config.json in the folder {name}.")
        if file.stat().st_size > CONFIG_BYTES:
            raise _refusal(_too_large())
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, RuntimeError, ValueError) as error:
        # A name longer than the file system takes, a home of nobody, a folder that may not be entered.
        raise _refusal(f"The folder {name[:60]} cannot be read: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")


def _from_hub(name: str, access: Access) -> BaseModel:
    if not is_hub_id(name):
        sentence = f"{_short(name)!r} is neither a preset nor a Hub id of the form owner/name."
        raise UnknownBaseModel(sentence, setting="base_model", suggestion=nearest_preset(name))
    if not access.hub:
        raise _refusal(f"{name} is not among the presets, and the Hub is switched off.")
    return BaseModel(name, "hub", _checked(fetch_config(name, CONFIG_BYTES)), name)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"


def _checked(text: str) -> str:
    """The config in canonical form, after refusing what would not be a model, or a monster."""
    if len(text) > CONFIG_BYTES:
        raise _refusal(_too_large())
    try:
        config = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _refusal(f"The config.json is not valid JSON: {error}.") from error
    if not isinstance(config, dict):
        raise _refusal("The config.json must hold one JSON object.")
    if not isinstance(config.get("model_type"), str):
        raise _refusal("The config.json names no model_type, so its architecture is unknown.")
    _check_sizes(config, depth=0)
    _check_experts(config)
    return json.dumps(_without_quantization(config), sort_keys=True)


def _without_quantization(config: dict[str, Any]) -> dict[str, Any]:
    # Remote code is never run, and how a checkpoint is stored says nothing about the shapes of the model.
    return {key: value for key, value in config.items() if key not in ("auto_map", "quantization_config")}


def _check_sizes(value: Any, depth: int, key: str = "") -> None:
    if depth > DEEPEST_NESTING:
        raise _refusal("The config.json is nested too deeply.")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_sizes(item, depth + 1, name)
    elif isinstance(value, list):
        if len(value) > MOST_HEADS_OR_EXPERTS:
            raise _refusal(f"The config.json lists {len(value):,} values for {key}; at most {MOST_HEADS_OR_EXPERTS:,}.")
        for item in value:
            _check_sizes(item, depth + 1, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_size(key, value)


def _check_size(key: str, value: float) -> None:
    if not isinstance(value, int):
        return
    if value < 1 and key in _DEPTHS:
        raise _refusal(f"The config.json asks for {key} = {value:,}; a model has at least one layer.")
    if value < 1 and key in _WIDTHS:
        raise _refusal(f"The config.json asks for {key} = {value:,}; it is at least 1 in every model.")
    limit = _most(key)
    # Token ids and context lengths build nothing, so only what sizes the model is bounded.
    if value > limit and not re.search(r"token|position|length|window|theta|_id$", key):
        raise _refusal(f"The config.json asks for {key} = {value:,}; at most {limit:,} is built here.")


def _check_experts(config: dict[str, Any]) -> None:
    """Some families build modules of their own for every expert of every layer."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    layers = max((_count(part, _DEPTHS) for part in parts), default=0)
    experts = max((_count(part, _EXPERTS) for part in parts), default=0)
    if layers * experts > MOST_EXPERTS_IN_ALL:
        raise _refusal(
            f"The config.json asks for {layers:,} layers of {experts:,} experts; "
            f"at most {MOST_EXPERTS_IN_ALL:,} experts in all are built here."
        )


def _count(part: dict[str, Any], keys: tuple[str, ...]) -> int:
    return max((value for key in keys if isinstance(value := part.get(key), int)), default=0)


def _most(key: str) -> int:
    if _WIDTH.search(key):
        return WIDEST
    if _LAYER_COUNT.search(key):
        return MOST_LAYERS
    return MOST_HEADS_OR_EXPERTS if _HEAD_OR_EXPERT_COUNT.search(key) else WIDEST


def _too_large() -> str:
    return f"The config.json is larger than {CONFIG_BYTES // 1024:,} KiB."


def _refusal(sentence: str) -> UnknownBaseModel:
    return UnknownBaseModel(sentence, setting="base_model")
