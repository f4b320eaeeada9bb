"""A recipe: one value for every setting, frozen, so that it can be compared and used as a cache key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from lora_explorer.errors import InvalidSettings
from lora_explorer.settings.adapter import AdapterSettings
from lora_explorer.settings.base_model import BaseModelSettings
from lora_explorer.settings.declaration import Control, Declaration, InTools, Setting, Settings
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG, HardwareSettings
from lora_explorer.settings.sentences import sentences_for
from lora_explorer.settings.targets import TargetSettings
from lora_explorer.settings.training import TrainingSettings

_GROUPS: tuple[type[Settings], ...] = (
    BaseModelSettings,
    AdapterSettings,
    TargetSettings,
    TrainingSettings,
    HardwareSettings,
)


class Recipe(HardwareSettings, TrainingSettings, TargetSettings, AdapterSettings, BaseModelSettings):
    """All settings of one run. A field left out means what Axolotl does when the key is absent."""

    @property
    def scaling(self) -> float | None:
        """alpha / rank, or alpha / √rank with rank-stabilised LoRA; None while one of them is missing."""
        if self.lora_r is None or self.lora_alpha is None:
            return None
        return self.lora_alpha / (math.sqrt(self.lora_r) if self.peft_use_rslora else self.lora_r)

    @property
    def effective_batch_size(self) -> int:
        """Rows a step of the optimizer sees on one card."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    @property
    def attention(self) -> str:
        """The attention kernel in effect: the key, else the old flags in Axolotl's order, else transformers' choice."""
        flags = (kernel for flag, kernel in ATTENTION_OF_FLAG.items() if getattr(self, flag))
        return self.attn_implementation or next(flags, "sdpa")

    @property
    def target_parameter_names(self) -> tuple[str, ...]:
        """`lora_target_parameters` as a list, as PEFT wants it."""
        named = self.lora_target_parameters
        return (named,) if isinstance(named, str) else named or ()

    def changed(self, **values: Any) -> Recipe:
        """This recipe with other values for some settings. Raises InvalidSettings."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return recipe_from(given | values)


def _setting_of(name: str, field: FieldInfo, group: type[Settings]) -> Setting:
    declaration = field.json_schema_extra
    if not isinstance(declaration, Declaration):
        raise TypeError(f"{name} is not declared with setting().")
    # A union such as `int | None` keeps the constraints on the annotation as a whole.
    found = {type(mark): mark for mark in field.metadata}
    lowest, above = found.get(annotated_types.Ge), found.get(annotated_types.Gt)
    highest, below = found.get(annotated_types.Le), found.get(annotated_types.Lt)
    return Setting(
        name=name,
        key=declaration.key or name,
        label=field.title or name,
        help=field.description or "",
        explanation=declaration.explanation,
        source=declaration.source,
        group=group.group,
        more=declaration.more,
        default=field.default,
        control=found[Control],
        minimum=lowest.ge if lowest else above.gt if above else None,
        maximum=highest.le if highest else None,
        below=below.lt if below else None,
        in_tools=found.get(InTools, InTools()),
        shown_when=declaration.shown_when,
    )


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        name: _setting_of(name, Recipe.model_fields[name], group)
        for group in _GROUPS
        for name in group.__annotations__
        if name in Recipe.model_fields
    }
)
"""Every setting by its field name, in the order of the page."""


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from values by field name. Raises InvalidSettings with one sentence for each setting at fault."""
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidSettings(sentences_for(error, SETTINGS)) from error
