"""What was written for a program is read as it was meant, for every setting that the program can be told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from usable_recipes import usable_recipes

from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.recognition import import_configuration
from lora_explorer.exports.tools import TOOLS, export_recipe
from lora_explorer.exports.trainer_arguments import wanted_adapter_dtype
from lora_explorer.exports.vocabulary import plain
from lora_explorer.settings import SETTINGS, Group, Recipe

READ = [name for name, tool in TOOLS.items() if tool.read]
# Nothing that a file says, and the same in every one of these programs.
BY_ITSELF = {"gptq", "seed"}
# Said by other settings that mean the same; each is compared below.
COMPARED_APART = {
    *("lora_alpha", "peft_use_rslora", "lora_target_linear", "lora_target_modules"),
    *("peft_autocast_adapter_dtype", "lora_fp32_gradients"),
}
# Of which a program's file may say less than Axolotl's, for good: kernels and masks of its own.
OWN_WAY = {
    # Both count warm-up in steps.
    "torchtune": {"attn_implementation", "warmup_steps", "warmup_ratio"},
    "mlx-lm": {"attn_implementation", "bf16", "gradient_checkpointing_kwargs", "warmup_steps", "warmup_ratio"},
}

# Two names of Axolotl's for one class there.
SAME_OPTIMIZER = {
    "mlx-lm": {"adamw_torch": "adamw_torch_fused"},
    "torchtune": {"adamw_8bit": "adamw_bnb_8bit"},
}


def differences(tool: str, recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """Settings that a file of the tool does not give back, by name: what was meant and what was read."""
    written = export_recipe(recipe, tool)
    unsaid = {finding.setting for finding in written.unsaid}
    meant, read = filled_in(recipe), import_configuration(written.text).recipe
    if tool == "mlx-lm" and "num_epochs" in unsaid:
        # Without a number of steps there is nothing to say, which the file's own default then fills.
        unsaid.add("max_steps")
    if "load_in_4bit" in unsaid:
        unsaid |= {"adapter", "bnb_config_kwargs"}
    if meant.optimizer in SAME_OPTIMIZER.get(tool, {}):
        meant = meant.changed(optimizer=SAME_OPTIMIZER[tool][meant.optimizer])
    if meant.max_steps:
        # Steps win over epochs.
        unsaid.add("num_epochs")
    groups = (Group.ADAPTER, Group.TARGETS) if tool == "peft" else tuple(Group)
    found = {}
    for name, setting in SETTINGS.items():
        apart = name in {*COMPARED_APART, *BY_ITSELF, *OWN_WAY.get(tool, ())}
        if apart or setting.key in unsaid or setting.group not in groups or not setting.shown_when(meant):
            continue
        ours, theirs = getattr(meant, name), getattr(read, name)
        if not same(ours, theirs):
            found[name] = (ours, theirs)
    return found | targets(tool, meant, read, unsaid) | scale(meant, read, unsaid) | dtype(meant, read, unsaid)


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-12)
    return plain(ours) == plain(theirs) or (not ours and not theirs)


LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def leaves(recipe: Recipe) -> set[str]:
    named = recipe.lora_target_modules or ()
    if isinstance(named, str):
        return LLAMA
    return {name.rpartition(".")[2] for name in named} | (LLAMA if recipe.lora_target_linear else set())


def targets(tool: str, meant: Recipe, read: Recipe, unsaid: set[str]) -> dict[str, tuple[Any, Any]]:
    names = ("lora_target_linear", "lora_target_modules")
    if unsaid.intersection(names):
        return {}
    if tool == "torchtune":
        # Every model that it builds has these linear modules, and it names parts of a layer.
        pair = leaves(meant), leaves(read)
        return {} if pair[0] == pair[1] else {"lora_target_modules": pair}
    pairs = {name: (in_order(getattr(meant, name)), in_order(getattr(read, name))) for name in names}
    return {name: pair for name, pair in pairs.items() if not same(*pair)}


def in_order(names: Any) -> Any:
    """PEFT holds names as a set."""
    return sorted(names) if isinstance(names, tuple) else names


def scale(meant: Recipe, read: Recipe, unsaid: set[str]) -> dict[str, tuple[Any, Any]]:
    if unsaid.intersection({"peft_use_rslora", "lora_alpha"}) or same(meant.scaling, read.scaling):
        return {}
    return {"scaling": (meant.scaling, read.scaling)}


def dtype(meant: Recipe, read: Recipe, unsaid: set[str]) -> dict[str, tuple[Any, Any]]:
    pair = wanted_adapter_dtype(meant), wanted_adapter_dtype(filled_in(read))
    return {} if "peft_autocast_adapter_dtype" in unsaid or pair[0] == pair[1] else {"adapter dtype": pair}


@pytest.mark.parametrize("tool", READ)
@settings(suppress_health_check=list(HealthCheck))
@given(recipe=usable_recipes())
def test_what_a_program_can_be_told_comes_back(tool: str, recipe: Recipe) -> None:
    # The names of linear modules, which adapter_config.json holds, are in the base model alone.
    assume(not (tool == "peft" and recipe.lora_target_linear))
    assert differences(tool, recipe) == {}
