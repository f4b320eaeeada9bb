"""Rules about the training run and what makes it fast or small."""

from __future__ import annotations

from lora_explorer.settings.hardware import ATTENTION_OF_FLAG, ATTENTIONS
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule, adapted

_NOT_WITH_POLORA = ("lora_modules_to_save", "peft_use_dora", "peft_trainable_token_indices", "loraplus_lr_ratio")
_LOSSES = (
    "chunked_cross_entropy",
    "cut_cross_entropy",
    "liger_cross_entropy",
    "liger_fused_linear_cross_entropy",
)


def _kernels(recipe: Recipe) -> bool:
    return any((recipe.lora_mlp_kernel, recipe.lora_qkv_kernel, recipe.lora_o_kernel))


def _has_plugin(recipe: Recipe, part: str) -> bool:
    return any(part in name.lower() for name in recipe.plugins)


TRAINING_RULES: tuple[Rule, ...] = (
    Rule(
        "warmup_ratio",
        "error",
        lambda recipe: recipe.warmup_ratio and recipe.warmup_steps,
        "warmup_ratio and warmup_steps exclude each other.",
    ),
    Rule(
        "warmup_steps",
        "error",
        lambda recipe: recipe.warmup_steps is not None and recipe.warmup_steps % 1,
        "warmup_steps must be a whole number, got {warmup_steps}; Axolotl refuses it. A share of all steps is "
        "warmup_ratio.",
        "warmup_ratio: {warmup_steps}",
    ),
    Rule(
        "learning_rate",
        "warning",
        lambda recipe: recipe.learning_rate is None,
        "learning_rate is empty; Axolotl does not start without it.",
        "0.0002",
    ),
    Rule(
        "lora_mlp_kernel",
        "error",
        lambda recipe: recipe.adapter == "lora" and recipe.load_in_8bit and _kernels(recipe),
        "The lora_*_kernel settings do not work on 8-bit base weights.",
        "false",
    ),
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: (
            recipe.attn_implementation is not None
            and recipe.attn_implementation not in ATTENTIONS
            and "/" not in recipe.attn_implementation
        ),
        "attn_implementation {attn_implementation} is not one that Axolotl knows.",
        "sdpa",
    ),
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: (
            recipe.attn_implementation is not None and any(getattr(recipe, flag) for flag in ATTENTION_OF_FLAG)
        ),
        "attn_implementation cannot be combined with the old attention flags; remove the flags.",
    ),
    Rule(
        "fp16",
        "error",
        lambda recipe: recipe.fp16 and recipe.bf16 is True,
        "fp16 and bf16 exclude each other.",
        "bf16: false",
    ),
    Rule(
        "gradient_checkpointing_kwargs",
        "error",
        lambda recipe: not isinstance(recipe.gradient_checkpointing_kwargs.get("use_reentrant", True), bool),
        "gradient_checkpointing_kwargs: use_reentrant must be true or false.",
        "{{use_reentrant: false}}",
    ),
    Rule(
        "activation_offloading",
        "error",
        lambda recipe: bool(recipe.activation_offloading) and not recipe.gradient_checkpointing,
        "activation_offloading needs gradient_checkpointing.",
        "gradient_checkpointing: true",
    ),
    Rule(
        "chunked_cross_entropy",
        "error",
        lambda recipe: recipe.chunked_cross_entropy and _has_plugin(recipe, "cut_cross_entropy"),
        "chunked_cross_entropy and the cut cross-entropy plugin exclude each other.",
        "false",
    ),
    Rule(
        "chunked_cross_entropy",
        "error",
        lambda recipe: sum(bool(getattr(recipe, name)) for name in _LOSSES) > 1,
        f"Only one of {', '.join(_LOSSES)} can be on.",
    ),
    Rule(
        "liger_fused_linear_cross_entropy",
        "warning",
        lambda recipe: (
            (recipe.liger_fused_linear_cross_entropy or recipe.liger_cross_entropy) and not _has_plugin(recipe, "liger")
        ),
        "The Liger keys have no effect until the Liger plugin is in plugins.",
        "plugins: [axolotl.integrations.liger.LigerPlugin]",
    ),
    Rule(
        "cut_cross_entropy",
        "warning",
        lambda recipe: bool(recipe.cut_cross_entropy) and not _has_plugin(recipe, "cut_cross_entropy"),
        "cut_cross_entropy has no effect until its plugin is in plugins.",
        "plugins: [axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin]",
    ),
    Rule(
        "optimizer",
        "error",
        lambda recipe: recipe.optimizer == "polora" and not adapted(recipe),
        "optimizer polora needs adapter lora or qlora.",
        "adamw_torch_fused",
    ),
    Rule(
        "optimizer",
        "error",
        lambda recipe: recipe.optimizer == "polora" and any(getattr(recipe, name) for name in _NOT_WITH_POLORA),
        "optimizer polora goes neither with lora_modules_to_save, DoRA or trained token rows, nor with LoRA+.",
        "adamw_torch_fused",
    ),
    Rule(
        "base_model",
        "warning",
        lambda recipe: not recipe.base_model,
        "base_model is empty; Axolotl does not start without it.",
    ),
)
