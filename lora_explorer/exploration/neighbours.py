"""The values next to a setting's own: half and twice, on and off, the next choices, other sets of targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lora_explorer.adapters import find_candidates
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import InvalidSettings
from lora_explorer.exploration.companions import companions_of
from lora_explorer.exploration.target_sets import distinct, target_sets
from lora_explorer.settings import SETTINGS, Recipe, Setting

MOST_NEIGHBOURS = 4
# The first value above nothing that is worth a look, where twice nothing is nothing.
_FROM_NOTHING = {"lora_dropout": 0.05, "weight_decay": 0.01, "warmup_ratio": 0.03, "warmup_steps": 10}
_WHERE_EMPTY = {"lora_r": (16, 64), "lora_alpha": (16, 32), "loraplus_lr_ratio": (16,), "loftq_bits": (4,)}


@dataclass(frozen=True)
class Neighbour:
    """label: the value as it is read. changes: the setting, and what must change with it, by field name."""

    label: str
    changes: Mapping[str, Any]


def neighbours_of(name: str, recipe: Recipe, skeleton: Skeleton) -> tuple[Neighbour, ...]:
    """At most four values of a setting to compare with the recipe's own; none where a value has no neighbours."""
    setting = SETTINGS[name]
    find = _BY_NAME.get(name) or _BY_KIND.get(setting.control.kind, _none)
    found = (each for each in find(setting, recipe, skeleton) if _changes_something(each, recipe))
    return tuple(islice(found, MOST_NEIGHBOURS))


def _changes_something(neighbour: Neighbour, recipe: Recipe) -> bool:
    try:
        return recipe.changed(**neighbour.changes) != recipe
    except InvalidSettings:
        return False


def _with(setting: Setting, value: Any, recipe: Recipe) -> Neighbour:
    """A value together with what Axolotl wants beside it."""
    return Neighbour(_label(value), {setting.name: value, **companions_of(setting.name, value, recipe)})


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "empty" if value in (None, (), "") else f"{value:,}" if isinstance(value, int) else str(value)


def _numbers(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    value = getattr(recipe, setting.name)
    if value is None:
        values: tuple[Any, ...] = _WHERE_EMPTY.get(setting.name, ())
    elif value == 0:
        values = tuple(_FROM_NOTHING[name] for name in (setting.name,) if name in _FROM_NOTHING)
    else:
        values = (value // 2, value * 2) if isinstance(value, int) else (value / 2, value * 2)
    yield from (_with(setting, each, recipe) for each in values if each)


def _toggled(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    yield _with(setting, not getattr(recipe, setting.name), recipe)


def _next_choices(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    """Those behind the present one, then from the start again."""
    words: dict[str, Any] = {"true": True, "false": False}
    choices = [words.get(choice, choice) for choice in setting.control.choices]
    now = getattr(recipe, setting.name)
    start = choices.index(now) + 1 if now in choices else 0
    yield from (_with(setting, choice, recipe) for choice in (*choices[start:], *choices[:start]))


def _emptied(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    if getattr(recipe, setting.name):
        yield Neighbour("empty", {setting.name: None})


def _target_choices(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    for each in distinct(target_sets(recipe, skeleton)):
        yield Neighbour(each.label, each.settings)


def _expert_choices(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    listed = [each.name for each in find_candidates(recipe, skeleton) if each.key == setting.name]
    if listed and not recipe.lora_target_parameters:
        yield Neighbour(", ".join(listed), {setting.name: tuple(listed), "lora_dropout": 0.0, "peft_use_dora": False})
    yield from _emptied(setting, recipe, skeleton)


def _saved_choices(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    """Embedding and head, as added tokens need them."""
    model = skeleton.model
    ends = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    named = tuple(path.rpartition(".")[2] for path, module in model.named_modules() if module in ends)
    if named and not recipe.lora_modules_to_save:
        yield Neighbour(", ".join(named), {setting.name: named})
    yield from _emptied(setting, recipe, skeleton)


def _layer_choices(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    yield from _emptied(setting, recipe, skeleton)
    half = skeleton.num_layers // 2
    if half and not isinstance(recipe.lora_target_modules, str):
        later = tuple(range(half, skeleton.num_layers))
        yield Neighbour(f"the last {len(later)}", {setting.name: later})
        yield Neighbour(f"the first {half}", {setting.name: tuple(range(half))})


def _none(setting: Setting, recipe: Recipe, skeleton: Skeleton) -> Iterator[Neighbour]:
    yield from ()


_Find = Callable[[Setting, Recipe, Skeleton], Iterator[Neighbour]]
_BY_NAME: Mapping[str, _Find] = {
    "base_model": _none,
    "lora_target_linear": _target_choices,
    "lora_target_modules": _target_choices,
    "lora_target_parameters": _expert_choices,
    "lora_modules_to_save": _saved_choices,
    "peft_layers_to_transform": _layer_choices,
}
_BY_KIND: Mapping[str, _Find] = {
    "slider": _numbers,
    "number": _numbers,
    "checkbox": _toggled,
    "choice": _next_choices,
    "names": _emptied,
    "mapping": _emptied,
    "text": _emptied,
}
