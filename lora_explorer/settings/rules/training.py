"""Rules about the training run, and about the kernels and losses that make it fast or small."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from lora_explorer.findings import Fix
from lora_explorer.settings.hardware import CUT_CROSS_ENTROPY_PLUGIN, LIGER_PLUGIN
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule, adapted
from lora_explorer.settings.training import LR_SCHEDULERS, OPTIMIZERS, RARER_LR_SCHEDULERS, RARER_OPTIMIZERS

_NOT_WITH_POLORA = ("lora_modules_to_save", "peft_use_dora", "peft_trainable_token_indices", "loraplus_lr_ratio")
_OTHER_OPTIMIZER = (("optimizer", "adamw_torch_fused"),)
_LOSSES = (
    "chunked_cross_entropy",
    "cut_cross_entropy",
    "liger_cross_entropy",
    "liger_fused_linear_cross_entropy",
)
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")


def _without_kernels(recipe: Recipe) -> Fix:
    return tuple((name, False) for name in _KERNELS if getattr(recipe, name))


def _has_plugin(recipe: Recipe, part: str) -> bool:
    return any(part in name.lower() for name in recipe.plugins)


def _share_of_steps(recipe: Recipe) -> Fix:
    share = recipe.warmup_steps or 0
    return (("warmup_steps", None), ("warmup_ratio", share)) if share < 1 else (("warmup_steps", int(share)),)


def _one_of(setting: str, known: Sequence[str]) -> Rule[Recipe]:
    """A text that Axolotl takes as it is, and that means nothing to the Trainer. known: the default first."""

    def nearest(recipe: Recipe) -> Fix:
        close = get_close_matches(getattr(recipe, setting).lower(), known, n=1)
        return ((setting, close[0] if close else known[0]),)

    return Rule(
        setting,
        "error",
        lambda recipe: getattr(recipe, setting) not in known,
        f"{setting} must be a name that Axolotl or transformers knows, got {{{setting}!r}}.",
        outcome="fails at load",
        why="Axolotl takes any text, and the arguments of transformers' Trainer then refuse it.",
        fix=nearest,
    )


TRAINING_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "warmup_ratio",
        "error",
        lambda recipe: recipe.warmup_ratio and recipe.warmup_steps,
        "warmup_ratio and warmup_steps exclude each other.",
        outcome="rejects",
        fix=(("warmup_ratio", None),),
    ),
    Rule(
        "warmup_steps",
        "error",
        lambda recipe: recipe.warmup_steps is not None and recipe.warmup_steps % 1,
        "warmup_steps must be a whole number, got {warmup_steps}; Axolotl refuses it. A share of all steps is "
        "warmup_ratio.",
        "warmup_ratio: {warmup_steps}",
        "rejects",
        fix=_share_of_steps,
    ),
    Rule(
        "learning_rate",
        "warning",
        lambda recipe: recipe.learning_rate is None,
        "learning_rate is empty; Axolotl does not start without it.",
        "0.0002",
        "rejects",
        fix=(("learning_rate", 0.0002),),
    ),
    Rule(
        "lora_mlp_kernel",
        "error",
        lambda recipe: recipe.adapter == "lora" and recipe.load_in_8bit and _without_kernels(recipe),
        "The lora_*_kernel settings do not work on 8-bit base weights.",
        "false",
        "rejects",
        fix=_without_kernels,
    ),
    Rule(
        "fp16",
        "warning",
        lambda recipe: recipe.fp16 and recipe.bf16 is True,
        "fp16 has no effect beside bf16: Axolotl turns it off.",
        "fp16: false",
        "changes",
        fix=(("fp16", False),),
    ),
    Rule(
        "gradient_checkpointing_kwargs",
        "error",
        lambda recipe: not isinstance(recipe.gradient_checkpointing_kwargs.get("use_reentrant", True), bool),
        "gradient_checkpointing_kwargs: use_reentrant must be true or false.",
        "{{use_reentrant: false}}",
        fix=(("gradient_checkpointing_kwargs.use_reentrant", False),),
    ),
    Rule(
        "gradient_checkpointing",
        "error",
        lambda recipe: recipe.gradient_checkpointing and "mpt" in (recipe.base_model or "").lower(),
        "gradient_checkpointing does not go with a base_model whose name holds mpt: Axolotl takes it for an MPT model.",
        "false",
        "rejects",
        fix=(("gradient_checkpointing", False),),
    ),
    Rule(
        "activation_offloading",
        "error",
        lambda recipe: bool(recipe.activation_offloading) and not recipe.gradient_checkpointing,
        "activation_offloading needs gradient_checkpointing.",
        "gradient_checkpointing: true",
        "rejects",
        fix=(("gradient_checkpointing", True),),
    ),
    Rule(
        "activation_offloading",
        "note",
        lambda recipe: recipe.adapter and recipe.activation_offloading == "hidden_states",
        "With an adapter, activation_offloading: true can be faster than hidden_states.",
        "true",
        "warns",
        "hidden_states computes each layer twice; true offloads what an adapter keeps, which is little.",
    ),
    Rule(
        "chunked_cross_entropy",
        "error",
        lambda recipe: recipe.chunked_cross_entropy and _has_plugin(recipe, "cut_cross_entropy"),
        "chunked_cross_entropy and the cut cross-entropy plugin exclude each other.",
        "false",
        "rejects",
        fix=(("chunked_cross_entropy", False),),
    ),
    Rule(
        "chunked_cross_entropy",
        "error",
        lambda recipe: sum(bool(getattr(recipe, name)) for name in _LOSSES) > 1,
        f"Only one of {', '.join(_LOSSES)} can be on.",
        outcome="rejects",
    ),
    Rule(
        "cut_cross_entropy",
        "error",
        lambda recipe: (
            recipe.cut_cross_entropy
            and _has_plugin(recipe, "cut_cross_entropy")
            and not (recipe.fp16 or (recipe.bf16 and "bf16" in recipe.model_fields_set))
        ),
        "cut_cross_entropy needs bf16 or fp16, written down.",
        "bf16: auto",
        "rejects",
        "Its backward pass has no float32 form, and Axolotl looks before its own bf16: auto is in force.",
        (("bf16", "auto"),),
    ),
    Rule(
        "liger_fused_linear_cross_entropy",
        "warning",
        lambda recipe: (
            (recipe.liger_fused_linear_cross_entropy or recipe.liger_cross_entropy) and not _has_plugin(recipe, "liger")
        ),
        "The Liger keys have no effect until the Liger plugin is in plugins.",
        f"plugins: [{LIGER_PLUGIN}]",
        "drops",
        fix=lambda recipe: (("plugins", (*recipe.plugins, LIGER_PLUGIN)),),
    ),
    Rule(
        "cut_cross_entropy",
        "warning",
        lambda recipe: bool(recipe.cut_cross_entropy) and not _has_plugin(recipe, "cut_cross_entropy"),
        "cut_cross_entropy has no effect until its plugin is in plugins.",
        f"plugins: [{CUT_CROSS_ENTROPY_PLUGIN}]",
        "drops",
        fix=lambda recipe: (("plugins", (*recipe.plugins, CUT_CROSS_ENTROPY_PLUGIN)),),
    ),
    Rule(
        "optimizer",
        "error",
        lambda recipe: recipe.optimizer == "polora" and not adapted(recipe),
        "optimizer polora needs adapter lora or qlora.",
        "adamw_torch_fused",
        "rejects",
        "It moves A and B together and knows nothing else.",
        _OTHER_OPTIMIZER,
    ),
    Rule(
        "optimizer",
        "error",
        lambda recipe: recipe.optimizer == "polora" and any(getattr(recipe, name) for name in _NOT_WITH_POLORA),
        "optimizer polora goes neither with lora_modules_to_save, DoRA or trained token rows, nor with LoRA+.",
        "adamw_torch_fused",
        "rejects",
        "It moves A and B only, at rates of its own; everything else would stay as it is.",
        _OTHER_OPTIMIZER,
    ),
    Rule(
        "weight_decay",
        "note",
        lambda recipe: recipe.optimizer == "polora" and recipe.weight_decay,
        "weight_decay has no effect with optimizer polora.",
        "0",
        "warns",
        fix=(("weight_decay", None),),
    ),
    Rule(
        "optimizer",
        "error",
        lambda recipe: recipe.optimizer == "q_galore_adamw8bit" and recipe.adapter,
        "optimizer q_galore_adamw8bit does not go with an adapter.",
        "adamw_torch_fused",
        "rejects",
        "It projects the gradients of whole matrices, which an adapter leaves without any.",
        _OTHER_OPTIMIZER,
    ),
    _one_of("optimizer", (*OPTIMIZERS, *RARER_OPTIMIZERS)),
    _one_of("lr_scheduler", (*LR_SCHEDULERS, *RARER_LR_SCHEDULERS)),
    Rule(
        "base_model",
        "warning",
        lambda recipe: not recipe.base_model,
        "base_model is empty; Axolotl does not start without it.",
        outcome="rejects",
    ),
)
