"""Rules about adapters and what is trained beside or instead of them. Facts: Axolotl 0.21's validators."""

from __future__ import annotations

from lora_explorer.exports.axolotl.rules.file_rule import (
    FileRule,
    FileValues,
    any_of,
    block,
    has_plugin,
    number,
    reentrant,
    refused,
    warned,
    without,
)
from lora_explorer.findings import Fix
from lora_explorer.settings.adapter import ADAPTERS

_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
_UNSLOTH = {
    "unsloth_lora_mlp": "lora_mlp_kernel",
    "unsloth_lora_qkv": "lora_qkv_kernel",
    "unsloth_lora_o": "lora_o_kernel",
    "unsloth_cross_entropy_loss": "",
    "unsloth_rms_norm": "",
    "unsloth_rope": "",
}
# Refused by name although the schema does not have them.
REMOVED_KEYS = (*_UNSLOTH, "fsdp")
_NEVER_MOVED_BY_POLORA = ("unfrozen_parameters", "lisa_step_interval", "reward_model", "process_reward_model")
_RATES_POLORA_IGNORES = ("lr_groups", "embedding_lr", "embedding_lr_scale")
_OTHER_OPTIMIZER: Fix = (("optimizer", "adamw_torch_fused"),)


def _lora(file: FileValues) -> bool:
    return file.get("adapter") in ADAPTERS


def _mixlora(file: FileValues) -> bool:
    return file.get("adapter") == "mixlora"


def _kernels_off(file: FileValues) -> Fix:
    return tuple((kernel, False) for kernel in any_of(file, *_KERNELS))


def _relora_adapter(file: FileValues) -> bool:
    return _lora(file) or (file.get("adapter") == "mora" and has_plugin(file, "mora"))


def _untrained_tokens(file: FileValues) -> list[int]:
    """Those that are fixed and not among the trained rows."""
    fixed, rows = file.get("fix_untrained_tokens"), file.get("peft_trainable_token_indices")
    if not fixed or not rows:
        return []
    trained = {row for each in rows.values() for row in each} if isinstance(rows, dict) else set(rows)
    return [token for token in ([fixed] if isinstance(fixed, int) else fixed) if token not in trained]


def _tokens_added(file: FileValues) -> Fix:
    rows = file.get("peft_trainable_token_indices")
    if not isinstance(rows, list):
        return ()
    return (("peft_trainable_token_indices", (*rows, *_untrained_tokens(file))),)


def _gone(key: str, now: str) -> FileRule:
    instead = f"; write {now}: true" if now else ""
    fix: Fix = (*without(key), *(((now, True),) if now else ()))
    return refused(key, lambda file: file.get(key), f"{key} is gone, and Axolotl refuses the file{instead}.", fix=fix)


ADAPTER_FILE_RULES: tuple[FileRule, ...] = (
    refused(
        "lr_groups",
        lambda file: file.get("lr_groups") and file.get("loraplus_lr_ratio"),
        "lr_groups and loraplus_lr_ratio exclude each other.",
        why="Both put the trained weights into groups with rates of their own.",
    ),
    refused(
        "unfrozen_parameters",
        lambda file: file.get("adapter") and file.get("peft_layers_to_transform") and file.get("unfrozen_parameters"),
        "unfrozen_parameters does not go with peft_layers_to_transform.",
        why="unfrozen_parameters freezes everything it does not name once the adapter is there, A and B too.",
        fix=without("unfrozen_parameters"),
    ),
    refused(
        "unfrozen_parameters",
        lambda file: file.get("unfrozen_parameters") and reentrant(file) is True,
        "unfrozen_parameters needs gradient_checkpointing_kwargs with use_reentrant: false.",
        why="Reentrant checkpointing finds no gradient to compute where a layer's input needs none.",
        fix=(("gradient_checkpointing_kwargs.use_reentrant", False),),
    ),
    refused(
        "flash_attn_fuse_mlp",
        lambda file: file.get("flash_attn_fuse_mlp") and (_lora(file) or _mixlora(file)),
        "flash_attn_fuse_mlp does not go with LoRA.",
        why="The fused module has no projections of its own that an adapter could stand beside.",
        fix=without("flash_attn_fuse_mlp"),
    ),
    refused(
        "use_onebitllms",
        lambda file: file.get("use_onebitllms") and _lora(file),
        "use_onebitllms does not go with LoRA.",
        fix=without("use_onebitllms"),
    ),
    refused(
        "trust_remote_code",
        lambda file: file.get("trust_remote_code") and any_of(file, *_KERNELS),
        "The lora_*_kernel settings do not go with trust_remote_code.",
        why="They replace methods of transformers' own classes, which remote code need not have.",
        fix=_kernels_off,
    ),
    *(_gone(key, now) for key, now in _UNSLOTH.items()),
    refused(
        "merge_lora",
        lambda file: (
            file.get("adapter") == "qlora" and file.get("merge_lora") and any_of(file, "load_in_4bit", "load_in_8bit")
        ),
        "merge_lora does not go with quantized weights; axolotl merge-lora sets it by itself.",
        fix=without("merge_lora"),
    ),
    refused(
        "relora",
        lambda file: file.get("relora") and not file.get("jagged_restart_steps"),
        "relora needs jagged_restart_steps.",
        why="It is after so many steps that the adapter is merged and starts again.",
    ),
    refused(
        "relora",
        lambda file: file.get("relora") and not _relora_adapter(file),
        "relora needs adapter lora or qlora.",
        fix=without("relora"),
    ),
    refused(
        "relora",
        lambda file: file.get("relora") and (file.get("fsdp_config") is not None or file.get("deepspeed")),
        "relora goes neither with fsdp_config nor with deepspeed.",
        why="At each restart it takes values out of the optimizer's states, which those two keep in pieces.",
        fix=without("relora"),
    ),
    refused(
        "lr_scheduler",
        lambda file: file.get("relora") and file.get("lr_scheduler") == "one_cycle",
        "relora does not go with lr_scheduler one_cycle.",
        fix=(("lr_scheduler", "cosine"),),
    ),
    refused(
        "flash_attn_fuse_mlp",
        lambda file: file.get("relora") and file.get("flash_attn_fuse_mlp") and not _lora(file),
        "flash_attn_fuse_mlp does not go with relora.",
        fix=without("flash_attn_fuse_mlp"),
    ),
    refused(
        "lora_r",
        lambda file: _mixlora(file) and not (file.get("lora_r") and file.get("lora_alpha")),
        "adapter mixlora needs lora_r and lora_alpha.",
    ),
    refused(
        "mixlora_top_k",
        lambda file: number(file, "mixlora_top_k", 2) > number(file, "mixlora_num_experts", 8),
        "mixlora_top_k must not be above mixlora_num_experts, which is 8 where it is not set.",
    ),
    refused(
        "rl", lambda file: _mixlora(file) and file.get("rl"), "adapter mixlora does not go with rl.", fix=without("rl")
    ),
    refused(
        "optimizer",
        lambda file: file.get("optimizer") == "polora" and any_of(file, *_NEVER_MOVED_BY_POLORA),
        "optimizer polora moves A and B only: not with unfrozen_parameters, LISA or reward models.",
        fix=_OTHER_OPTIMIZER,
    ),
    refused(
        "optimizer",
        lambda file: file.get("optimizer") == "polora" and any_of(file, *_RATES_POLORA_IGNORES),
        "optimizer polora has rates of its own: not with lr_groups, embedding_lr or embedding_lr_scale.",
        fix=_OTHER_OPTIMIZER,
    ),
    refused(
        "optimizer",
        lambda file: (
            file.get("optimizer") == "polora" and (file.get("deepspeed") or number(file, "tensor_parallel_size", 1) > 1)
        ),
        "optimizer polora goes neither with deepspeed nor with tensor_parallel_size above 1.",
        why="It needs A and B whole on every card.",
        fix=_OTHER_OPTIMIZER,
    ),
    refused(
        "qat",
        lambda file: file.get("qat") and file.get("peft"),
        "qat does not go with a peft block.",
        fix=without("peft"),
    ),
    refused(
        "qat",
        lambda file: file.get("qat") and any_of(file, "load_in_4bit", "load_in_8bit"),
        "qat does not go with load_in_4bit or load_in_8bit.",
        why="Quantization-aware training rounds weights that are there in full.",
        fix=without("qat"),
    ),
    refused(
        "qat",
        lambda file: (
            block(file, "qat").get("weight_dtype") == "ternary"
            and block(file, "qat").get("activation_dtype") not in (None, "int8")
        ),
        "qat: with weight_dtype ternary, activation_dtype must be int8.",
        fix=(("qat.activation_dtype", "int8"),),
    ),
    refused(
        "model_quantization_config",
        lambda file: (
            file.get("model_quantization_config") == "Mxfp4Config"
            and block(file, "fsdp_config").get("cpu_ram_efficient_loading") is True
        ),
        "Mxfp4Config does not go with fsdp_config.cpu_ram_efficient_loading.",
        fix=(("fsdp_config.cpu_ram_efficient_loading", False),),
    ),
    refused(
        "gptq",
        lambda file: file.get("gptq") and file.get("revision_of_model"),
        "gptq does not go with revision_of_model; name a local folder with that revision as base_model.",
    ),
    refused(
        "use_dsv4_kernels",
        lambda file: (
            has_plugin(file, "kernels")
            and file.get("use_dsv4_kernels")
            and any_of(file, "lora_target_modules", "lora_target_linear")
            and not file.get("lora_exclude_modules")
        ),
        "use_dsv4_kernels takes an adapter on lora_target_parameters only.",
        why="The fused indexer passes no gradient on to adapters of the attention.",
    ),
    refused(
        "nvfp4_merge_aware",
        lambda file: has_plugin(file, "kernels") and file.get("nvfp4_merge_aware") and file.get("use_scattermoe"),
        "nvfp4_merge_aware does not go with use_scattermoe; it needs use_sonicmoe.",
        fix=(("use_scattermoe", None), ("use_sonicmoe", True)),
    ),
    refused(
        "quantize_moe_experts",
        lambda file: has_plugin(file, "kernels") and file.get("quantize_moe_experts") and file.get("use_sonicmoe"),
        "quantize_moe_experts does not go with use_sonicmoe; it needs use_scattermoe.",
        fix=(("use_sonicmoe", None), ("use_scattermoe", True)),
    ),
    warned(
        "fix_untrained_tokens",
        _untrained_tokens,
        "fix_untrained_tokens names tokens that peft_trainable_token_indices does not train.",
        severity="warning",
        fix=_tokens_added,
    ),
    warned(
        "flash_optimum",
        lambda file: file.get("adapter") and file.get("flash_optimum"),
        "flash_optimum probably does not work with an adapter.",
        severity="warning",
        fix=without("flash_optimum"),
    ),
)
