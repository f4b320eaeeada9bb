"""PEFT's adapter_config.json, both ways: written by PEFT itself, read key by key."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_explorer.errors import ExportRefused, InvalidSettings
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.peft.words import PEFT
from lora_explorer.exports.vocabulary import hear, is_set, say
from lora_explorer.exports.vocabulary import unsaid as unsaid_in
from lora_explorer.findings import Finding
from lora_explorer.settings import SETTINGS, Group, Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

FILE_NAME = "adapter_config.json"
_TYPE = "peft_type"
_ABOUT_TRAINING = (Group.BASE_MODEL, Group.TRAINING, Group.HARDWARE)


def export_adapter_config(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """The file that PEFT saves beside such an adapter. Raises ExportRefused without an adapter or its target names."""
    if not recipe.adapter:
        raise ExportRefused("adapter is empty, so there is no adapter to write a file for.", setting="adapter")
    if recipe.lora_target_linear and skeleton is None:
        message = "lora_target_linear stands for names that only the base model has, and it could not be had."
        raise ExportRefused(message, setting="lora_target_linear")
    _, unsaid = say(PEFT, recipe.changed(lora_target_linear=False))
    return Exported(_saved_by_peft(recipe, skeleton), (*unsaid, *_of_the_call(recipe), *left_out(recipe)))


def _of_the_call(recipe: Recipe) -> tuple[Finding, ...]:
    """What get_peft_model takes and no file of PEFT's holds."""
    cast = SETTINGS["peft_autocast_adapter_dtype"]
    return (unsaid_in("adapter_config.json", cast, recipe),) if is_set(cast, recipe) else ()


def left_out(recipe: Recipe) -> tuple[Finding, ...]:
    """One note on all settings that are not about the adapter itself."""
    others = [setting for setting in SETTINGS.values() if setting.group in _ABOUT_TRAINING and is_set(setting, recipe)]
    keys = [setting.key for setting in others if setting.name != "base_model" and setting.shown_when(recipe)]
    if not keys:
        return ()
    listed = ", ".join(keys)
    return (Finding(keys[0], "note", f"Only the adapter is in this form, and nothing of {listed}."),)


def _saved_by_peft(recipe: Recipe, skeleton: Skeleton | None) -> str:
    from torch import nn

    from lora_explorer.adapters.config import lora_config

    # Without names to look up, no module of the model is looked at.
    config = lora_config(recipe, skeleton.model if skeleton else nn.Module())
    config.base_model_name_or_path = recipe.base_model
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        saved = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    # Names come from sets, in another order every time; and LoftQ is left to the one who has weights.
    saved |= {key: sorted(value) for key, value in saved.items() if key == "target_modules" and isinstance(value, list)}
    said, _ = say(PEFT, recipe.changed(lora_target_linear=False))
    saved |= {key: said[key] for key in ("init_lora_weights", "loftq_config") if key in said}
    return json.dumps(saved, indent=2, sort_keys=True) + "\n"


def read_adapter_config(values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Settings by name, and what is none. Raises InvalidSettings for an adapter of another kind or without a rank."""
    kind = values.get(_TYPE)
    if str(kind).upper() != "LORA":
        raise _refusal("adapter", f"peft_type is {kind!s:.60}; only LORA adapters can be read here.")
    if values.get("r") is None:
        raise _refusal("lora_r", "The adapter_config.json names no r, so the rank is not known.")
    rest = {key: value for key, value in values.items() if key not in (_TYPE, "base_model_name_or_path")}
    settings, findings = hear(PEFT, rest)
    named = {"base_model": values.get("base_model_name_or_path"), "adapter": "lora"}
    return {name: value for name, value in (named | settings).items() if value is not None}, findings


def _refusal(setting: str, message: str) -> InvalidSettings:
    return InvalidSettings((Finding(setting, "error", message),))
