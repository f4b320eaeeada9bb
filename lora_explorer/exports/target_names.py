"""Target modules as programs on PEFT take them: names, one regex, or PEFT's own word for all linear modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lora_explorer.exports.vocabulary import otherwise
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

ALL_LINEAR = "all-linear"
# A name ends a path: the regex that says the same, for where a single name would be taken for a regex.
_ANY_PATH = r"(?:.*\.)?"


def with_names(recipe: Recipe, skeleton: Skeleton | None) -> Recipe:
    """The recipe with `lora_target_linear` as the names that it stands for in this base model, if there is one."""
    if not (recipe.adapter and recipe.lora_target_linear) or skeleton is None:
        return recipe
    from lora_explorer.adapters.config import target_modules

    names = target_modules(recipe, skeleton.model)
    return recipe.changed(lora_target_linear=False, lora_target_modules=tuple(names))


def has_own_meaning(recipe: Recipe, skeleton: Skeleton | None) -> bool:
    """Whether `lora_target_linear` alone is what other programs call all linear modules.

    Those programs look for names of linear modules as Axolotl does, but leave out the vision part of a model.
    """
    sees = skeleton is not None and hasattr(skeleton.config, "vision_config")
    return recipe.lora_target_linear and not recipe.lora_target_modules and not sees


def peft_targets(recipe: Recipe) -> str | list[str]:
    """The value of target_modules; `lora_target_linear` that has no names yet is PEFT's `all-linear`."""
    if recipe.lora_target_linear:
        return ALL_LINEAR
    named = recipe.lora_target_modules or ()
    return named if isinstance(named, str) else list(named)


def unnamed(recipe: Recipe) -> Iterator[Finding]:
    """What PEFT's `all-linear` means otherwise, where `lora_target_linear` could not be resolved."""
    if recipe.lora_target_linear:
        message = "lora_target_linear is written as all-linear: without the base model its names are not known."
        yield otherwise("lora_target_linear", message)
    if recipe.lora_target_linear and recipe.lora_target_modules:
        yield otherwise("lora_target_modules", "lora_target_modules is not in the file: all-linear stands there.")


def name_as_regex(name: str) -> str:
    return _ANY_PATH + re.escape(name)


def name_in_regex(text: str) -> str | None:
    """The name that `name_as_regex` was given, or None for any other regex."""
    escaped = text.removeprefix(_ANY_PATH)
    name = re.sub(r"\\(.)", r"\1", escaped)
    return name if escaped != text and re.escape(name) == escaped else None
