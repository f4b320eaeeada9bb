"""Settings and their values in a few words, and a name for a configuration from what sets it apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from lora_explorer.base_models import find_preset
from lora_explorer.report import words
from lora_explorer.settings import SETTINGS, Recipe

NOT_SET = "not set"
_LONGEST_NAME = 60
_MOST_PARTS = 3
_FEW = 2


def value_in_words(value: Any) -> str:
    """0.0002, true, q_proj, v_proj, or not set: on one line, without YAML's brackets around a list of names."""
    if value is None or value in ((), {}):
        return NOT_SET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        if all(type(item) is int for item in value):
            return words.spans(tuple(value))
        return ", ".join(value_in_words(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_in_words(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def differing_settings(recipes: Collection[Recipe]) -> tuple[str, ...]:
    """Names of the settings that do not have one value in all of them, in the order of the page.

    What is absent has Axolotl's default as its value.
    """
    return tuple(
        name for name in SETTINGS if any(getattr(one, name) != getattr(other, name) for one, other in _pairs(recipes))
    )


def propose_name(recipe: Recipe, others: Sequence[Recipe], taken: Collection[str] = ()) -> str:
    """r 32, DoRA: what sets a recipe apart from others, most telling first; without any, what it mainly is.

    taken: names that are not given again.
    """
    apart = set(differing_settings((recipe, *others))) if others else set(_MAIN)
    said = list(_said(recipe, apart))[:_MOST_PARTS] or list(_said(recipe, set(_MAIN)))
    name = ", ".join(said)[:_LONGEST_NAME] or "Configuration"
    return next(each for each in _numbered(name) if each not in taken)


def _pairs(recipes: Collection[Recipe]) -> Iterator[tuple[Recipe, Recipe]]:
    first, *rest = recipes
    return ((first, other) for other in rest)


def _said(recipe: Recipe, names: Collection[str]) -> Iterator[str]:
    ordered = (*_IN_SHORT, *(name for name in SETTINGS if name not in _IN_SHORT))
    for name in ordered:
        if name in names and (said := _in_short(recipe, name)):
            yield said


def _in_short(recipe: Recipe, name: str) -> str:
    value = getattr(recipe, name)
    if name in _IN_SHORT:
        return _IN_SHORT[name](value)
    if value is None or value is False or value == SETTINGS[name].default:
        # What is not there says little about what is.
        return ""
    label = SETTINGS[name].label
    return label if value is True else f"{label} {value_in_words(value)}"


def model_in_words(value: Any) -> str:
    """Llama 3 8B, or where it is no preset the last part of its name."""
    preset = find_preset(str(value))
    return preset.label if preset else str(value).rstrip("/").rpartition("/")[2]


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name} ({number})"
        number += 1


def _flag(text: str) -> Callable[[Any], str]:
    return lambda value: text if value else ""


def _after(text: str) -> Callable[[Any], str]:
    return lambda value: "" if value is None else f"{text} {value_in_words(value)}"


def _before(text: str) -> Callable[[Any], str]:
    return lambda value: "" if value is None else f"{value_in_words(value)} {text}"


def _targets(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > _FEW:
        return words.counted(len(value), "target")
    return "" if not value else value_in_words(value)


_IN_SHORT: Mapping[str, Callable[[Any], str]] = {
    "base_model": model_in_words,
    "lora_r": _after("r"),
    "peft_use_dora": _flag("DoRA"),
    "peft_use_rslora": _flag("rsLoRA"),
    "load_in_4bit": _flag("4-bit"),
    "load_in_8bit": _flag("8-bit"),
    "lora_alpha": _after("α"),
    "lora_target_linear": _flag("all linear"),
    "lora_target_modules": _targets,
    "sequence_len": _before("tokens"),
    "micro_batch_size": _after("batch"),
    "gradient_accumulation_steps": _after("accumulate"),
    "gradient_checkpointing": lambda value: "checkpointing" if value else "no checkpointing",
    "optimizer": lambda value: "" if value is None else str(value),
    "learning_rate": lambda value: "" if value is None else f"rate {words.power(value)}",
    "lora_dropout": _after("dropout"),
    "adapter": lambda value: "" if value else "full fine-tuning",
}
"""What tells the most comes first; an empty text is left out."""
_MAIN = ("base_model", "lora_r", "peft_use_dora", "peft_use_rslora", "load_in_4bit", "load_in_8bit")
