"""The axes of a sweep: a setting and its values, or a choice that takes several settings at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import yaml

from lora_explorer.base_models import Access, BaseModel, find_base_model
from lora_explorer.errors import InvalidSettings, SweepRefused
from lora_explorer.exploration.companions import WEIGHTS_IN_BITS
from lora_explorer.exploration.ranges import values_in
from lora_explorer.settings import SETTINGS, Recipe, Setting, recipe_from

TARGETS, BITS = "targets", "bits"
MOST_BASE_MODELS = 24
"""Each may have to be looked up on the Hub, and is built."""


@dataclass(frozen=True)
class Choice:
    """One place on an axis. name: as it is typed; label: as it is read. changes: settings by field name.

    number: of a numeric axis. base_model: where the axis is the base model. is_alias: another name for the same, left
    out where every choice is asked for.
    """

    name: str
    label: str
    changes: Mapping[str, Any]
    number: float | None = None
    base_model: BaseModel | None = None
    is_alias: bool = False


@dataclass(frozen=True)
class Axis:
    """name: a setting's key, or `targets` or `bits`. choices: numbers ascend. unit: of numbers, where they have one."""

    name: str
    label: str
    choices: tuple[Choice, ...]
    unit: str = ""

    @property
    def is_numeric(self) -> bool:
        """Whether its places have distances, and an order in which larger means more."""
        return all(choice.number is not None for choice in self.choices)

    @property
    def settings(self) -> frozenset[str]:
        """Every setting that the axis moves."""
        return frozenset(name for choice in self.choices for name in choice.changes)


@dataclass(frozen=True)
class Here:
    """What is explored from. access: what a visitor may use where base models are compared."""

    recipe: Recipe
    base_model: BaseModel
    access: Access = field(default_factory=Access)


def read_axis(text: str, here: Here) -> Axis:
    """`lora_r=4..256 x2`, `targets=attention,mlp`, `bits=4,8,16`; without values, every choice there is.

    Raises SweepRefused with one sentence, UnknownBaseModel.
    """
    name, given, values = text.partition("=")
    return axis_of(name.strip(), values if given else None, here)


def axis_of(name: str, values: str | None, here: Here) -> Axis:
    """As `read_axis`. values: the range as it is typed, None for every choice there is."""
    if name in _COMPOUND:
        return _chosen(name, values, _COMPOUND[name](here))
    setting = _setting(name)
    found = values_in(values, setting.key) if values is not None else _every_choice(setting)
    if setting.name == "base_model" and len(found) > MOST_BASE_MODELS:
        complaint = f"base_model: {len(found)} base models; at most {MOST_BASE_MODELS} are compared at once."
        raise SweepRefused(complaint, setting=setting.key)
    choices = tuple(_choice(setting, value, here) for value in found)
    return _ascending(Axis(setting.key, setting.label, choices, _UNITS.get(setting.name, "")))


def _ascending(axis: Axis) -> Axis:
    """Numbers from the smallest to the largest, however they were typed; what has no order stays as it is."""
    if not axis.is_numeric:
        return axis
    return replace(axis, choices=tuple(sorted(axis.choices, key=lambda choice: choice.number or 0.0)))


_UNITS = {
    "sequence_len": "tokens",
    "micro_batch_size": "rows",
    "gradient_accumulation_steps": "micro batches",
    "num_epochs": "passes",
    "max_steps": "steps",
    "loftq_bits": "bits",
}


def _setting(name: str) -> Setting:
    by_key = {setting.key: setting for setting in SETTINGS.values()} | dict(SETTINGS)
    if name in by_key:
        return by_key[name]
    near = get_close_matches(name, [*by_key, *_COMPOUND], n=1, cutoff=0.6)
    hint = f" The nearest is {near[0]}." if near else f" Beside the settings there are {TARGETS} and {BITS}."
    raise SweepRefused(f"{name[:60]!r} is not a setting that can be explored.{hint}", setting=name[:60])


def _every_choice(setting: Setting) -> tuple[Any, ...]:
    """Of a setting with a closed set of values."""
    if setting.control.kind == "checkbox":
        return (False, True)
    listed = setting.control.choices if setting.control.kind == "choice" else ()
    if not listed:
        raise SweepRefused(
            f"{setting.key} needs a range, such as {setting.key}=4..256 x2 or {setting.key}=8,16,32.",
            setting=setting.key,
        )
    words = {"true": True, "false": False}
    return tuple(words.get(choice, choice) for choice in listed)


def _choice(setting: Setting, value: Any, here: Here) -> Choice:
    try:
        read = getattr(recipe_from({setting.name: value}), setting.name)
    except InvalidSettings as error:
        raise SweepRefused(error.findings[0].message, setting=setting.key) from error
    is_number = isinstance(read, (int, float)) and not isinstance(read, bool)
    name = _written(value)
    base_model = None
    if setting.name == "base_model":
        base_model = find_base_model(read, here.access)
    return Choice(name, name, {setting.name: read}, float(read) if is_number else None, base_model)


def _written(value: Any) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _chosen(name: str, values: str | None, offered: tuple[Choice, ...]) -> Axis:
    by_name = {choice.name: choice for choice in offered}
    wanted = tuple(_written(value) for value in values_in(values, name)) if values is not None else None
    for each in wanted or ():
        if each not in by_name:
            raise SweepRefused(f"{name}: {each[:60]!r} is none of {', '.join(by_name)}.", setting=name)
    chosen = tuple(by_name[each] for each in wanted) if wanted else tuple(each for each in offered if not each.is_alias)
    return _ascending(Axis(name, _LABELS[name], chosen, "bits" if name == BITS else ""))


def _target_choices(here: Here) -> tuple[Choice, ...]:
    from lora_explorer.base_models.skeleton import load_skeleton
    from lora_explorer.exploration.target_sets import distinct, target_sets

    found = target_sets(here.recipe, load_skeleton(here.base_model))
    shown = distinct(found)
    return tuple(Choice(each.name, each.label, each.settings, is_alias=each not in shown) for each in found)


def _bit_choices(here: Here) -> tuple[Choice, ...]:
    return tuple(Choice(str(bits), f"{bits}-bit", changes, float(bits)) for bits, changes in WEIGHTS_IN_BITS.items())


_COMPOUND: Mapping[str, Callable[[Here], tuple[Choice, ...]]] = {TARGETS: _target_choices, BITS: _bit_choices}
_LABELS = {TARGETS: "Targets", BITS: "Base weights"}
