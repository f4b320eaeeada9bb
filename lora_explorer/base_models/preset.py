"""Base models that need no look-up: the public facts of their config.json, one file each in presets/models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from lora_explorer import presets


@dataclass(frozen=True)
class PresetModel:
    """One preset. total_params: as published; aliases: Hub ids of the same architecture and size."""

    id: str
    label: str
    family: str
    aliases: tuple[str, ...]
    total_params: int
    config_json: str


@cache
def preset_models() -> tuple[PresetModel, ...]:
    """Every preset, in the order of their files."""
    files = sorted((presets.folder() / "models").glob("*.json"))
    return tuple(_preset_from(file.read_text(encoding="utf-8")) for file in files)


def find_preset(name: str) -> PresetModel | None:
    """The preset with this id or alias, whatever its case."""
    return _by_name().get(name.lower())


def nearest_preset(name: str) -> str | None:
    """The id of the preset whose label is most like a name that is none."""
    by_label = {_plain(preset.label): preset.id for preset in preset_models()}
    close = get_close_matches(_plain(name), by_label, n=1, cutoff=0.6)
    return by_label[close[0]] if close else None


def _plain(label: str) -> str:
    return "".join(letter for letter in label.lower() if letter.isalnum())


@cache
def _by_name() -> Mapping[str, PresetModel]:
    by_alias = {alias.lower(): preset for preset in preset_models() for alias in preset.aliases}
    return MappingProxyType(by_alias | {preset.id.lower(): preset for preset in preset_models()})


def _preset_from(text: str) -> PresetModel:
    facts = json.loads(text)
    return PresetModel(
        id=facts["id"],
        label=facts["label"],
        family=facts["family"],
        aliases=tuple(facts["aliases"]),
        total_params=facts["total_params"],
        config_json=json.dumps(facts["config"], sort_keys=True),
    )
