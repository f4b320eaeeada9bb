"""From a recipe to peft.LoraConfig, as Axolotl 0.21 builds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import ParamWrapper
from torch import nn

from lora_explorer.settings import Recipe

# Families whose output head Axolotl knows by another name than lm_head: none in 0.21.
OUTPUT_HEAD = "lm_head"
_NOT_LINEAR_DESPITE_NAME = "LlamaLinearScalingRotaryEmbedding"


def lora_config(recipe: Recipe, model: nn.Module) -> LoraConfig:
    """The LoraConfig Axolotl would hand to PEFT, but for LoftQ. Reads names of modules, changes nothing."""
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=target_modules(recipe, model),
        target_parameters=list(recipe.target_parameter_names),
        layers_to_transform=list(recipe.peft_layers_to_transform) or None,
        layers_pattern=list(recipe.peft_layers_pattern) or None,
        fan_in_fan_out=recipe.lora_fan_in_fan_out,
        modules_to_save=list(recipe.lora_modules_to_save) or None,
        bias="none",
        task_type="CAUSAL_LM",
        **_options(recipe),
    )
    # Axolotl lets a config with dropout reach fused experts, which cannot have it, and leaves it out just there.
    config._register_custom_module({nn.Module: _expert_layer_without_dropout})
    return config


def target_modules(recipe: Recipe, model: nn.Module) -> str | list[str]:
    """The value of LoraConfig.target_modules: a regex as text, or names; both kinds of target are a union of names."""
    named = recipe.lora_target_modules or ()
    if not recipe.lora_target_linear:
        return named if isinstance(named, str) else list(named)
    listed = (named,) if isinstance(named, str) else named
    return sorted({*listed, *linear_names(model)})


def linear_names(model: nn.Module) -> tuple[str, ...]:
    """The last path component of every linear module, as Axolotl collects them: in model order, without the head."""
    names = dict.fromkeys(path.rpartition(".")[2] for path, module in model.named_modules() if _is_linear(module))
    return tuple(name for name in names if name != OUTPUT_HEAD)


def _is_linear(module: nn.Module) -> bool:
    class_name = type(module).__name__
    return isinstance(module, nn.Linear) or ("Linear" in class_name and class_name != _NOT_LINEAR_DESPITE_NAME)


def _options(recipe: Recipe) -> dict[str, Any]:
    """What Axolotl passes on only when it is set; a start of `false` is one that it does not pass on."""
    options: dict[str, Any] = {
        "use_dora": recipe.peft_use_dora,
        "use_rslora": recipe.peft_use_rslora,
        "rank_pattern": dict(recipe.lora_rank_pattern),
        "alpha_pattern": dict(recipe.lora_alpha_pattern),
        "layer_replication": [list(span) for span in recipe.peft_layer_replication],
        "trainable_token_indices": _token_indices(recipe),
        "ensure_weight_tying": recipe.peft_ensure_weight_tying,
    }
    # LoftQ only sets values, which no weight here has, and PEFT would not begin without SciPy.
    if recipe.peft_init_lora_weights != "loftq":
        options["init_lora_weights"] = recipe.peft_init_lora_weights
    return {name: value for name, value in options.items() if value}


def _token_indices(recipe: Recipe) -> list[int] | dict[str, list[int]] | None:
    indices = recipe.peft_trainable_token_indices
    if isinstance(indices, dict):
        return {name: list(rows) for name, rows in indices.items()}
    return list(indices) if indices else None


def _expert_layer_without_dropout(
    target: nn.Module, adapter_name: str, *, config: LoraConfig, parameter_name: str | None = None, **kwargs: Any
) -> nn.Module | None:
    """PEFT's hook for own layer classes: None leaves the layer to PEFT."""
    if parameter_name is None or not config.lora_dropout:
        return None
    layer: nn.Module = ParamWrapper(
        target, adapter_name, parameter_name, config=replace(config, lora_dropout=0.0), **kwargs
    )
    return layer


def base_dtype(recipe: Recipe) -> torch.dtype:
    """The dtype of the unquantized base weights: Axolotl loads them in the dtype it trains in; auto is bfloat16."""
    if recipe.fp16 and recipe.bf16 is not True:
        return torch.float16
    return torch.bfloat16 if recipe.bf16 else torch.float32


def adapter_dtype(recipe: Recipe) -> torch.dtype:
    """The dtype of A and B: float32 unless the cast is switched off and no float32 gradients are asked for."""
    in_float32 = recipe.peft_autocast_adapter_dtype or recipe.lora_fp32_gradients
    return torch.float32 if in_float32 else base_dtype(recipe)
