"""Rules about several cards: FSDP, DeepSpeed, and the other ways to share a step. Facts: Axolotl 0.21's validators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

_FSDP1_GONE = {"sharding_strategy": "reshard_after_forward", "forward_prefetch": ""}
_FSDP1_IGNORED = (
    "sync_module_states",
    "backward_prefetch",
    "backward_prefetch_policy",
    "limit_all_gathers",
    "use_orig_params",
)
# What rules have a word for; the schema does not have them.
FSDP1_KEYS = frozenset(f"fsdp_config.{key}" for key in (*_FSDP1_GONE, *_FSDP1_IGNORED, "version"))
_PREFERENCES = ("dpo", "kto", "orpo", "ipo")
_8BIT_ADAMW = ("adamw_8bit", "adamw_bnb_8bit")
_TORCH_8BIT: Fix = (("optimizer", "adamw_torch_8bit"),)
# FSDP1's names of what is kept sharded between forward and backward.
_RESHARDS = {"FULL_SHARD": True, "SHARD_GRAD_OP": False, "HYBRID_SHARD": True}
_VERSIONS = ("fsdp_version", "fsdp_config.fsdp_version", "fsdp_config.version")
_BLIND_STARTS = (None, True, False, "gaussian")


def _fsdp(file: FileValues) -> Any:
    return block(file, "fsdp_config")


def _sharded(file: FileValues) -> bool:
    """Whether there is a block, with anything in it or nothing."""
    return file.get("fsdp_config") is not None


def _efficient(file: FileValues) -> bool:
    """Whether only the first card reads the weights."""
    return bool(_fsdp(file).get("cpu_ram_efficient_loading")) and not splits_tensors(file)


def splits_tensors(file: FileValues) -> bool:
    """Whether each card reads its part of the tensors, and cpu_ram_efficient_loading is turned off for that."""
    shards = _torchao(file) or (file.get("qlora_sharded_model_loading") and file.get("load_in_4bit"))
    split = number(file, "tensor_parallel_size", 1) > 1 and not shards
    return bool(split and _fsdp(file).get("cpu_ram_efficient_loading"))


def sharded_loading(file: FileValues) -> bool | None:
    """What qlora_sharded_model_loading becomes where that is not what is written; None where it stays, or stays off."""
    written = file.get("qlora_sharded_model_loading")
    if written is None:
        return True if file.get("adapter") == "qlora" and file.get("load_in_4bit") and _efficient(file) else None
    idle = written and file.get("load_in_4bit") and not _torchao(file) and not (_sharded(file) and _efficient(file))
    return False if idle else None


def _old_version(file: FileValues) -> Fix:
    """The places that name a version other than 2, with 2."""
    inside = {f"fsdp_config.{key}": value for key, value in _fsdp(file).items()}
    named = {"fsdp_version": file.get("fsdp_version"), **inside}
    return tuple((key, 2) for key in _VERSIONS if named.get(key) is not None and str(named[key]) != "2")


def _staged(file: FileValues) -> bool:
    """Whether the 4-bit weights are put together on the CPU for FSDP, part by part."""
    asked = file.get("qlora_sharded_model_loading")
    if asked is None:
        asked = file.get("adapter") == "qlora"
    return bool(asked and file.get("load_in_4bit") and _fsdp(file) and _efficient(file))


def _ulysses(file: FileValues) -> bool:
    shared = block(file, "context_parallel")
    whole = shared.get("ulysses_size") in (None, shared.get("size")) and shared.get("ring_size") in (None, 1)
    return shared.get("backend", "auto") in ("auto", "ulysses") and whole


def _may_be_nvfp4(file: FileValues) -> bool:
    """Going by the name; objectives of preferences take no adapter on any."""
    return "nvfp4" in str(file.get("base_model")).lower() and file.get("rl") not in ("dpo", "ipo", "kto")


def _torchao(file: FileValues) -> bool:
    return file.get("nf4_backend") == "torchao"


def _fsdp1(key: str, instead: str) -> FileRule:
    now = f"write {instead}" if instead else "FSDP2 has nothing like it"

    def fix(file: FileValues) -> Fix:
        gone = without(f"fsdp_config.{key}")
        strategy = str(_fsdp(file).get(key)).upper()
        return (*gone, (f"fsdp_config.{instead}", _RESHARDS[strategy])) if strategy in _RESHARDS else gone

    return refused(
        f"fsdp_config.{key}",
        lambda file: key in _fsdp(file),
        f"fsdp_config.{key} belongs to FSDP1, which Axolotl no longer has; {now}.",
        fix=fix,
    )


def _ignored(key: str) -> FileRule:
    return warned(
        f"fsdp_config.{key}",
        lambda file: key in _fsdp(file),
        f"fsdp_config.{key} belongs to FSDP1 and has no effect.",
        fix=without(f"fsdp_config.{key}"),
    )


DISTRIBUTED_FILE_RULES: tuple[FileRule, ...] = (
    refused(
        "fsdp",
        lambda file: file.get("fsdp"),
        "The fsdp list belongs to FSDP1, which Axolotl no longer has; FSDP2 is set with fsdp_config alone.",
        fix=lambda file: (
            without("fsdp") if file.get("fsdp_config") else (*without("fsdp"), ("fsdp_config.fsdp_version", 2))
        ),
    ),
    refused(
        "fsdp_version",
        _old_version,
        "fsdp_version must be 2; Axolotl no longer has FSDP1.",
        fix=_old_version,
    ),
    *(_fsdp1(key, instead) for key, instead in _FSDP1_GONE.items()),
    *(_ignored(key) for key in _FSDP1_IGNORED),
    refused(
        "deepspeed",
        lambda file: file.get("deepspeed") and file.get("fsdp_config"),
        "deepspeed and fsdp_config exclude each other.",
    ),
    refused(
        "fsdp_config.cpu_offload_pin_memory",
        lambda file: _fsdp(file).get("cpu_offload_pin_memory") is False and not _fsdp(file).get("offload_params"),
        "fsdp_config.cpu_offload_pin_memory: false needs offload_params: true.",
        fix=without("fsdp_config.cpu_offload_pin_memory"),
    ),
    refused(
        "fsdp_config.min_num_params",
        lambda file: (
            _fsdp(file).get("auto_wrap_policy") == "SIZE_BASED_WRAP" and _fsdp(file).get("min_num_params") is None
        ),
        "fsdp_config: auto_wrap_policy SIZE_BASED_WRAP needs min_num_params.",
    ),
    refused(
        "optimizer",
        lambda file: _sharded(file) and file.get("optimizer") in _8BIT_ADAMW,
        "optimizer {optimizer} does not go with FSDP; adamw_torch_8bit does.",
        why="bitsandbytes' kernels cannot work on a share of a sharded tensor.",
        fix=_TORCH_8BIT,
    ),
    refused(
        "rl",
        lambda file: (
            file.get("fsdp_config") and file.get("rl") in _PREFERENCES and any_of(file, "load_in_4bit", "load_in_8bit")
        ),
        "rl {rl} on quantized weights does not go with FSDP; DeepSpeed does.",
    ),
    refused(
        "fsdp_config",
        lambda file: _sharded(file) and "falcon" in str(file.get("base_model")).lower(),
        "fsdp_config does not go with Falcon models.",
        fix=without("fsdp_config"),
    ),
    refused(
        "ple_cpu_offload",
        lambda file: file.get("ple_cpu_offload") and (_sharded(file) or file.get("deepspeed")),
        "ple_cpu_offload goes neither with fsdp_config nor with deepspeed.",
        why="They place parameters themselves, and would shard or gather the table.",
        fix=(("ple_cpu_offload", False),),
    ),
    refused(
        "fp32_norms",
        lambda file: file.get("fp32_norms") and not _sharded(file),
        "fp32_norms needs fsdp_config.",
        fix=without("fp32_norms"),
    ),
    refused(
        "qlora_sharded_model_loading",
        lambda file: (
            file.get("fsdp_config")
            and _efficient(file)
            and file.get("load_in_4bit")
            and not _staged(file)
            and not _torchao(file)
        ),
        "4-bit weights with fsdp_config.cpu_ram_efficient_loading need qlora_sharded_model_loading.",
        why="Otherwise only the first card quantizes, and the shapes of the others no longer fit.",
        fix=lambda file: (
            without("qlora_sharded_model_loading")
            if file.get("adapter") == "qlora"
            else (("fsdp_config.cpu_ram_efficient_loading", False),)
        ),
    ),
    refused(
        "qlora_sharded_model_loading",
        lambda file: _staged(file) and any_of(file, "peft_use_dora", "lora_modules_to_save"),
        "4-bit weights that are loaded in shards go neither with peft_use_dora nor with lora_modules_to_save.",
        fix=(("fsdp_config.cpu_ram_efficient_loading", False),),
    ),
    refused(
        "qlora_sharded_model_loading",
        lambda file: (
            _staged(file)
            and (
                file.get("peft_init_lora_weights") not in _BLIND_STARTS
                or block(file, "peft").get("loftq_config") is not None
            )
        ),
        "4-bit weights that are loaded in shards need a start of A and B that does not look at them.",
        fix=(("fsdp_config.cpu_ram_efficient_loading", False),),
    ),
    refused(
        "qlora_sharded_model_loading",
        lambda file: _staged(file) and block(file, "bnb_config_kwargs").get("bnb_4bit_quant_type", "nf4") != "nf4",
        "4-bit weights that are loaded in shards must be nf4.",
        fix=(("bnb_config_kwargs.bnb_4bit_quant_type", "nf4"),),
    ),
    refused(
        "nf4_backend",
        lambda file: (
            _torchao(file)
            and _sharded(file)
            and not (_efficient(file) and file.get("qlora_sharded_model_loading") in (None, True))
        ),
        "nf4_backend torchao with fsdp_config needs cpu_ram_efficient_loading and qlora_sharded_model_loading.",
        fix=(("fsdp_config.cpu_ram_efficient_loading", True), ("qlora_sharded_model_loading", None)),
    ),
    refused(
        "nf4_backend",
        lambda file: (
            (_torchao(file) or _staged(file))
            and (
                file.get("deepspeed")
                or number(file, "tensor_parallel_size", 1) > 1
                or number(file, "context_parallel_size", 1) > 1
                or number(file, "dp_replicate_size", 1) > 1
            )
        ),
        "4-bit weights that are put together on the CPU can be shared by FSDP only, in one dimension.",
    ),
    warned(
        "qlora_sharded_model_loading",
        lambda file: (
            file.get("qlora_sharded_model_loading")
            and file.get("load_in_4bit")
            and not _torchao(file)
            and not _efficient(file)
        ),
        "qlora_sharded_model_loading has no effect without fsdp_config.cpu_ram_efficient_loading.",
        severity="warning",
        fix=without("qlora_sharded_model_loading"),
    ),
    warned(
        "gradient_checkpointing_kwargs",
        lambda file: (
            file.get("adapter") == "qlora" and reentrant(file) is False and "zero3" in (file.get("deepspeed") or "")
        ),
        "qlora under ZeRO-3 may fail in the backward pass with use_reentrant: false.",
        severity="warning",
        fix=(("gradient_checkpointing_kwargs.use_reentrant", True),),
    ),
    refused(
        "optimizer",
        lambda file: file.get("deepspeed") and str(file.get("optimizer")).startswith(("flash_", "q_galore")),
        "optimizer {optimizer} does not go with deepspeed.",
    ),
    refused(
        "optimizer",
        lambda file: file.get("deepspeed") and file.get("optimizer") in ("muon", "muon_8bit"),
        "optimizer {optimizer} does not go with deepspeed.",
    ),
    refused(
        "deepspeed",
        lambda file: (
            isinstance(file.get("deepspeed"), Mapping)
            and (number(file, "tensor_parallel_size", 1) > 1 or file.get("deepcompile"))
        ),
        "deepspeed must be the path of a file with tensor_parallel_size above 1 or deepcompile.",
        why="Axolotl writes a copy of that file with what the two need.",
    ),
    refused(
        "deepcompile",
        lambda file: file.get("deepcompile") and not file.get("deepspeed"),
        "deepcompile needs deepspeed.",
        fix=without("deepcompile"),
    ),
    refused(
        "optimizer",
        lambda file: (
            number(file, "tensor_parallel_size", 1) > 1 and file.get("optimizer") in ("paged_adamw_8bit", *_8BIT_ADAMW)
        ),
        "optimizer {optimizer} does not go with tensor_parallel_size above 1.",
        fix=_TORCH_8BIT,
    ),
    FileRule(
        "tensor_parallel_size",
        "warning",
        lambda file: number(file, "tensor_parallel_size", 1) > 1 and file.get("adapter") and not _may_be_nvfp4(file),
        "tensor_parallel_size above 1 with an adapter needs a base model in native NVFP4; Axolotl ends with any other.",
        outcome="fails at load",
        why="PEFT would size A and B by the part of a matrix that one card has; fsdp_config shares the model as well.",
        fix=without("tensor_parallel_size"),
    ),
    refused(
        "tensor_parallel_size",
        lambda file: number(file, "tensor_parallel_size", 1) > 1 and number(file, "expert_parallel_size", 1) > 1,
        "tensor_parallel_size and expert_parallel_size cannot both be above 1.",
    ),
    refused(
        "tensor_parallel_size",
        lambda file: (
            has_plugin(file, "liger")
            and number(file, "tensor_parallel_size", 1) > 1
            and any_of(file, "liger_rms_norm", "liger_fused_linear_cross_entropy")
        ),
        "tensor_parallel_size above 1 goes neither with liger_rms_norm nor with liger_fused_linear_cross_entropy.",
    ),
    refused(
        "attn_implementation",
        lambda file: number(file, "context_parallel_size", 1) > 1 and file.get("attn_implementation") == "eager",
        "context_parallel_size above 1 does not go with eager attention.",
        fix=(("attn_implementation", "sdpa"),),
    ),
    refused(
        "rl",
        lambda file: number(file, "context_parallel_size", 1) > 1 and file.get("deepspeed") and file.get("rl"),
        "rl with context_parallel_size above 1 does not go with deepspeed.",
    ),
    refused(
        "context_parallel.backend",
        lambda file: number(file, "context_parallel_size", 1) > 1 and file.get("deepspeed") and not _ulysses(file),
        "Under deepspeed, context_parallel knows the backend ulysses only.",
        fix=(("context_parallel.backend", "ulysses"), *without("context_parallel.ring_size")),
    ),
    refused(
        "context_parallel_size",
        lambda file: (
            block(file, "context_parallel").get("size") is not None
            and file.get("context_parallel_size") is not None
            and block(file, "context_parallel")["size"] != file["context_parallel_size"]
        ),
        "context_parallel_size and context_parallel.size are not the same.",
        fix=without("context_parallel_size"),
    ),
    refused(
        "expert_parallel_size",
        lambda file: number(file, "expert_parallel_size", 1) > 1 and not _sharded(file),
        "expert_parallel_size above 1 needs fsdp_config.",
    ),
    refused(
        "expert_parallel_size",
        lambda file: (
            number(file, "expert_parallel_size", 1) > 1
            and _sharded(file)
            and _fsdp(file).get("state_dict_type") != "FULL_STATE_DICT"
        ),
        "expert_parallel_size above 1 needs fsdp_config with state_dict_type: FULL_STATE_DICT.",
        why="A sharded checkpoint would keep the experts of the first group only.",
        fix=(("fsdp_config.state_dict_type", "FULL_STATE_DICT"),),
    ),
    refused(
        "max_memory",
        lambda file: file.get("max_memory") is not None and file.get("gpu_memory_limit") is not None,
        "max_memory and gpu_memory_limit exclude each other.",
    ),
)
