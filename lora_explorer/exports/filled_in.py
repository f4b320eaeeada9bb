"""What Axolotl does where a setting is empty or in an old spelling, written out: other programs do otherwise there."""

from __future__ import annotations

from typing import Any

from lora_explorer.settings import Recipe
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG

# Of all steps, where neither warm-up key is set; Axolotl stops at 100 steps, which only runs of 3,300 steps reach.
WARMUP_RATIO = 0.03
MOST_WARMUP_STEPS = 100
# transformers' own, which Axolotl leaves in force.
MAX_GRAD_NORM = 1.0
_OFFLOADING: dict[Any, bool | str] = {"offload": True, "offload_disk": "disk"}


def filled_in(recipe: Recipe) -> Recipe:
    """The same run with its defaults said: precision, warm-up, clipping, and old spellings in their new form.

    bf16 `auto` becomes true, which is what it means on every card that has bfloat16.
    """
    changes: dict[str, Any] = {"bf16": bool(recipe.bf16) and not recipe.fp16}
    if recipe.warmup_steps is None and recipe.warmup_ratio is None:
        changes["warmup_ratio"] = WARMUP_RATIO
    if recipe.max_grad_norm is None:
        changes["max_grad_norm"] = MAX_GRAD_NORM
    if any(getattr(recipe, flag) for flag in ATTENTION_OF_FLAG):
        changes |= {"attn_implementation": recipe.attention, **dict.fromkeys(ATTENTION_OF_FLAG, False)}
    if recipe.gradient_checkpointing in _OFFLOADING:
        offloading = recipe.activation_offloading or _OFFLOADING[recipe.gradient_checkpointing]
        changes |= {"gradient_checkpointing": True, "activation_offloading": offloading}
    if isinstance(recipe.peft_init_lora_weights, bool):
        # It hands on neither: A and B start as usual.
        changes["peft_init_lora_weights"] = None
    if isinstance(recipe.lora_target_parameters, str):
        changes["lora_target_parameters"] = recipe.target_parameter_names
    return recipe.changed(**changes)
