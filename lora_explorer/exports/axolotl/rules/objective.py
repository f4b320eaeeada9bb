"""Rules about what is optimized where that is no plain fine-tuning. Facts: Axolotl 0.21's validators."""

from __future__ import annotations

from lora_explorer.exports.axolotl.rules.file_rule import (
    FileRule,
    FileValues,
    block,
    number,
    refused,
    warned,
    without,
)


def _colocated(file: FileValues) -> bool:
    trl = block(file, "trl")
    return bool(trl.get("use_vllm")) and trl.get("vllm_mode") == "colocate"


def _generations(file: FileValues) -> int | None:
    """How many answers a prompt gets; None where TRL's default holds, or the objective has none."""
    wanted = block(file, "trl").get("num_generations")
    return wanted if file.get("rl") == "grpo" and isinstance(wanted, int) else None


def _generated_rows(file: FileValues) -> int:
    asked = block(file, "trl").get("generation_batch_size")
    if asked is not None:
        return int(asked)
    return int(number(file, "micro_batch_size", 1) * number(file, "gradient_accumulation_steps", 1))


def _strided(file: FileValues) -> bool:
    return file.get("rl") == "ebft" and block(file, "ebft").get("mode") == "strided"


OBJECTIVE_FILE_RULES: tuple[FileRule, ...] = (
    refused(
        "sample_packing",
        lambda file: file.get("sample_packing") and file.get("rl"),
        "sample_packing does not go with rl.",
        fix=(("sample_packing", False),),
    ),
    refused(
        "eval_sample_packing",
        lambda file: file.get("rl") == "kto" and file.get("eval_sample_packing"),
        "eval_sample_packing does not go with rl kto.",
        fix=(("eval_sample_packing", False),),
    ),
    refused(
        "remove_unused_columns",
        lambda file: file.get("rl") == "kto" and file.get("remove_unused_columns") is not False,
        "rl kto needs remove_unused_columns: false.",
        fix=(("remove_unused_columns", False),),
    ),
    refused(
        "warmup_ratio",
        lambda file: file.get("rl") == "simpo" and file.get("warmup_ratio"),
        "rl simpo takes warmup_steps, not warmup_ratio.",
        fix=without("warmup_ratio"),
    ),
    refused(
        "dpo_loss_type",
        lambda file: (
            file.get("rl") != "dpo"
            and (file.get("dpo_loss_type") is not None or file.get("dpo_loss_weights") is not None)
        ),
        "dpo_loss_type and dpo_loss_weights go with rl dpo only.",
        fix=without("dpo_loss_type", "dpo_loss_weights"),
    ),
    refused(
        "dpo_loss_weights",
        lambda file: (
            file.get("rl") == "dpo"
            and file.get("dpo_loss_weights") is not None
            and len(file.get("dpo_loss_type") or ()) != len(file["dpo_loss_weights"])
        ),
        "dpo_loss_weights needs one weight for each loss in dpo_loss_type.",
        fix=without("dpo_loss_weights"),
    ),
    warned(
        "rl",
        lambda file: file.get("rl") == "ipo",
        "rl ipo is an old spelling of rl dpo with dpo_loss_type: [ipo].",
        fix=(("rl", "dpo"), ("dpo_loss_type", ("ipo",))),
    ),
    refused(
        "trl.num_generations",
        lambda file: (_generations(file) or 2) < 2,
        "trl.num_generations must be at least 2: answers are compared with each other.",
        fix=(("trl.num_generations", 8),),
    ),
    refused(
        "trl.num_generations",
        lambda file: (_generations(file) or 0) > 1 and _generated_rows(file) % (_generations(file) or 1),
        "The rows of a step must be a multiple of trl.num_generations.",
        why="micro_batch_size × gradient_accumulation_steps, or trl.generation_batch_size, is how many there are.",
    ),
    refused(
        "trl.use_liger_loss",
        lambda file: (
            file.get("rl") == "grpo"
            and block(file, "trl").get("use_liger_loss")
            and number(file, "context_parallel_size", 1) > 1
        ),
        "trl.use_liger_loss does not go with context_parallel_size above 1.",
    ),
    refused(
        "trl.multi_objective_aggregation",
        lambda file: (
            file.get("rl") == "gdpo" and block(file, "trl").get("multi_objective_aggregation") == "sum_then_normalize"
        ),
        "trl.multi_objective_aggregation: sum_then_normalize is GRPO, not rl gdpo.",
    ),
    refused(
        "trl.vllm_lora_sync",
        lambda file: _colocated(file) and block(file, "trl").get("vllm_lora_sync"),
        "trl.vllm_lora_sync needs vllm_mode: server.",
        why="Adapters are sent to a server; an engine in the same process gets merged weights.",
        fix=without("trl.vllm_lora_sync"),
    ),
    refused(
        "trl.vllm_mode",
        lambda file: (
            _colocated(file)
            and file.get("adapter")
            and (block(file, "trl").get("async_prefetch") or block(file, "trl").get("use_data_producer"))
        ),
        "trl.vllm_mode: colocate with an adapter goes neither with async_prefetch nor with use_data_producer.",
        fix=(("trl.vllm_mode", "server"),),
    ),
    refused(
        "trl.vllm_mode",
        lambda file: _colocated(file) and number(file, "context_parallel_size", 1) > 1,
        "trl.vllm_mode: colocate does not go with context_parallel_size above 1.",
        fix=(("trl.vllm_mode", "server"),),
    ),
    refused("ebft", lambda file: file.get("rl") == "ebft" and not file.get("ebft"), "rl ebft needs the block ebft."),
    refused(
        "torch_compile",
        lambda file: _strided(file) and file.get("torch_compile") is True and file.get("gradient_checkpointing"),
        "ebft.mode: strided does not go with torch_compile and gradient_checkpointing.",
        fix=without("torch_compile"),
    ),
    refused(
        "activation_offloading",
        lambda file: (
            _strided(file)
            and file.get("activation_offloading") is True
            and file.get("attn_implementation") == "flex_attention"
        ),
        "ebft.mode: strided with flex_attention does not go with activation_offloading.",
        fix=without("activation_offloading"),
    ),
)
