"""Values that follow from others: what Axolotl's validators put in, and when.

Facts: the validators of Axolotl 0.21. Assumed is one CUDA card of compute capability 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.exports.axolotl.kernels import LORA_KERNELS, kernels_turn_on
from lora_explorer.exports.axolotl.rules.distributed import sharded_loading, splits_tensors
from lora_explorer.exports.axolotl.rules.file_rule import block, has_plugin
from lora_explorer.exports.axolotl.rules.run import ROWS_OF_ANY_LENGTH, names_magistral

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Follows:
    """A value that follows from others. value: None where nothing follows. why: one sentence."""

    key: str
    value: Callable[[Values], Any]
    why: str


_KERNELS_WHY = "Fused kernels are turned on for lora and qlora while none of their keys is set; false stops that."
_FLAGS_WHY = "The old attention flags are read as this."
_RENAMED_WHY = "It has the value of its old name."
_PACKING_WHY = "It follows from sample_packing."


def _true_if(condition: Callable[[Values], object]) -> Callable[[Values], Any]:
    return lambda values: True if condition(values) else None


def _if_unset(key: str, value: Any, condition: Callable[[Values], object]) -> Callable[[Values], Any]:
    return lambda values: value if values.get(key) is None and condition(values) else None


def _reads(key: str) -> Callable[[Values], Any]:
    """What a key comes to once its old spellings are read."""
    return lambda values: values.get(key) or None


def _offloaded(values: Values) -> Any:
    old = {"offload": True, "offload_disk": "disk"}
    asked = values.get("gradient_checkpointing")
    return old.get(asked) if isinstance(asked, str) else None


def _unused_columns(values: Values) -> Any:
    unpacked = values.get("sample_packing") and values.get("eval_sample_packing") is False
    return False if values.get("remove_unused_columns") in (None, False) and (unpacked or _kept(values)) else None


def _kept(values: Values) -> Any:
    return values.get("skip_prepare_dataset") and values.get("remove_unused_columns") is not True


def _flattened(values: Values) -> Any:
    if values.get("batch_flattening") != "auto":
        return None
    fits = values.get("attn_implementation") in ROWS_OF_ANY_LENGTH and not values.get("sample_packing")
    return bool(fits and (values.get("micro_batch_size") or 1) > 1)


def _labels(values: Values) -> Any:
    if values.get("num_labels") is not None:
        return None
    return 2 if values.get("process_reward_model") and not values.get("reward_model") else _one_label(values)


def _one_label(values: Values) -> Any:
    return 1 if values.get("reward_model") else None


def _head(values: Values) -> Any:
    if values.get("type_of_model") or values.get("model_type"):
        return None
    if values.get("reward_model"):
        return "AutoModelForSequenceClassification"
    return "AutoModelForTokenClassification" if values.get("process_reward_model") else None


def _loads_data_by_itself(values: Values) -> bool:
    return all(values.get(f"dataloader_{name}") is None for name in ("num_workers", "pin_memory", "prefetch_factor"))


def _experts(values: Values) -> Any:
    if not has_plugin(values, "kernels") or values.get("experts_implementation") is not None:
        return None
    named = {"use_scattermoe": "scattermoe", "use_sonicmoe": "sonicmoe"}
    chosen = (name for flag, name in named.items() if values.get(flag))
    backend = values.get("expert_backend")
    return backend if backend in named.values() else next(chosen, "eager")


def _own_mlp_kernel(values: Values) -> bool:
    fused = has_plugin(values, "kernels") and values.get("use_dsv4_kernels") is True
    experts = (
        _experts(values) in ("scattermoe", "sonicmoe") or values.get("use_scattermoe") or values.get("use_sonicmoe")
    )
    return bool(fused and experts and values.get("lora_mlp_kernel") is True)


def _collected(values: Values) -> Any:
    """The old number of steps between collections, where neither of the new ones is set."""
    new = (values.get("torch_empty_cache_steps"), values.get("gc_collect_steps"))
    return values.get("gc_steps") if new == (None, None) else None


def _streamed(name: str) -> Follows:
    return Follows(
        f"accelerator_config.{name}",
        lambda values: (
            False
            if values.get("pretraining_dataset") and block(values, "accelerator_config").get(name) is None
            else None
        ),
        "Streamed rows go to each card by themselves.",
    )


FOLLOWS: tuple[Follows, ...] = (
    *(Follows(kernel, _true_if(kernels_turn_on), _KERNELS_WHY) for kernel in LORA_KERNELS),
    Follows(
        "lora_dropout",
        _if_unset("lora_dropout", 0.0, lambda values: values.get("adapter")),
        "An adapter without a dropout has none.",
    ),
    Follows("attn_implementation", _reads("attn_implementation"), _FLAGS_WHY),
    Follows("gradient_checkpointing", _true_if(_offloaded), "offload is an old value; it is true with offloading."),
    Follows("activation_offloading", _offloaded, "gradient_checkpointing: offload is read as this."),
    Follows(
        "gradient_checkpointing_kwargs.use_reentrant",
        lambda values: (
            False
            if (_offloaded(values) or values.get("activation_offloading")) == "hidden_states"
            and "use_reentrant" not in block(values, "gradient_checkpointing_kwargs")
            else None
        ),
        "Offloading of hidden states takes the other implementation of checkpointing.",
    ),
    Follows(
        "pad_to_sequence_len",
        _if_unset(
            "pad_to_sequence_len", True, lambda values: values.get("sample_packing") or values.get("reward_model")
        ),
        "Rows of one length keep the allocator's memory in one piece.",
    ),
    Follows(
        "eval_sample_packing",
        _if_unset(
            "eval_sample_packing",
            True,
            lambda values: values.get("sample_packing") and not values.get("eval_table_size"),
        ),
        _PACKING_WHY,
    ),
    Follows("remove_unused_columns", _unused_columns, "Rows keep the columns that are prepared later."),
    Follows(
        "qlora_sharded_model_loading",
        sharded_loading,
        "It is on for qlora under FSDP with cpu_ram_efficient_loading, and off for all else.",
    ),
    Follows(
        "fsdp_config.fsdp_version",
        lambda values: 2 if block(values, "fsdp_config") else None,
        "Axolotl has FSDP2 only.",
    ),
    Follows(
        "fsdp_config.cpu_ram_efficient_loading",
        lambda values: False if splits_tensors(values) else None,
        "Where tensors are split, each card reads its own part.",
    ),
    Follows("context_parallel_size", _reads("context_parallel_size"), _RENAMED_WHY),
    Follows("neftune_noise_alpha", _reads("neftune_noise_alpha"), _RENAMED_WHY),
    Follows("eval_strategy", _reads("eval_strategy"), _RENAMED_WHY),
    Follows(
        "dataset_num_proc",
        lambda values: values.get("dataset_processes") if values.get("dataset_num_proc") is None else None,
        _RENAMED_WHY,
    ),
    Follows("gc_collect_steps", _collected, _RENAMED_WHY),
    Follows("torch_empty_cache_steps", lambda values: max(_collected(values) or 0, 0) or None, _RENAMED_WHY),
    Follows("rl_beta", lambda values: values.get("rl_beta") or values.get("dpo_beta") or None, _RENAMED_WHY),
    Follows(
        "seed",
        _if_unset("seed", 42, lambda values: "seed" in values or values.get("full_determinism")),
        "An empty seed is 42; without the line there is none.",
    ),
    Follows(
        "chat_template",
        lambda values: "jinja" if values.get("chat_template_jinja") and not values.get("chat_template") else None,
        "There is a chat_template_jinja.",
    ),
    Follows("num_labels", _labels, "A reward model has as many."),
    Follows("type_of_model", _head, "A reward model has such a head."),
    Follows(
        "wandb_name",
        lambda values: values.get("wandb_run_id") if not values.get("wandb_name") else None,
        "It is called as its wandb_run_id.",
    ),
    Follows(
        "torch_compile",
        _true_if(lambda values: values.get("torch_compile") == "auto"),
        "auto is true with today's torch.",
    ),
    Follows(
        "tf32", _true_if(lambda values: values.get("tf32", "auto") == "auto"), "auto is true on cards from Ampere on."
    ),
    Follows("batch_flattening", _flattened, "auto is true where rows of any length can be laid one after the other."),
    Follows(
        "dataloader_num_workers", lambda values: 1 if _loads_data_by_itself(values) else None, "One for each card."
    ),
    Follows("dataloader_pin_memory", _true_if(_loads_data_by_itself), "None of the three keys of the loader is set."),
    Follows(
        "dataloader_prefetch_factor",
        lambda values: 256 if _loads_data_by_itself(values) else None,
        "None of the three keys of the loader is set.",
    ),
    Follows(
        "optim_target_modules",
        _if_unset(
            "optim_target_modules", ["attn", "mlp"], lambda values: values.get("optimizer") == "q_galore_adamw8bit"
        ),
        "Q-GaLore projects these.",
    ),
    Follows(
        "tokenizer_use_mistral_common",
        _if_unset("tokenizer_use_mistral_common", True, names_magistral),
        "The name holds magistral.",
    ),
    _streamed("split_batches"),
    _streamed("dispatch_batches"),
    Follows(
        "trl.vllm_mode",
        lambda values: (
            "server" if block(values, "trl").get("use_vllm") and not block(values, "trl").get("vllm_mode") else None
        ),
        "vLLM runs as a server where nothing else is said.",
    ),
    Follows(
        "use_kernels",
        _if_unset("use_kernels", True, lambda values: has_plugin(values, "kernels")),
        "Its plugin turns it on.",
    ),
    Follows("experts_implementation", _experts, "The kernels plugin chooses it."),
    Follows(
        "lora_mlp_kernel",
        lambda values: False if _own_mlp_kernel(values) else None,
        "The kernels for DeepSeek-V4 bring one of their own.",
    ),
    Follows(
        "dsv4_shared_mlp_lora_kernel",
        _if_unset("dsv4_shared_mlp_lora_kernel", True, lambda values: _own_mlp_kernel(values)),
        "It takes the place of lora_mlp_kernel.",
    ),
    Follows(
        "nvfp4_merge_aware",
        lambda values: (
            False
            if has_plugin(values, "kernels")
            and values.get("nvfp4_merge_aware")
            and values.get("adapter") not in ("lora", "multilora")
            else None
        ),
        "It is for adapter lora only.",
    ),
)
