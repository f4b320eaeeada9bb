"""Keys that are no settings here although Axolotl trains another model, or holds other bytes, because of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer.settings import Finding

_SPELLING = "is an older spelling, which Axolotl still reads and the figures here do not: write {instead}."
_KERNEL = "is not in the memory here, which is that of transformers' own layers."
_VOCABULARY = "adds rows to the embedding, which counts and memory here do not have."
_MODEL = "changes the model that Axolotl builds; counts and memory here are those of its config.json."
_TRAINED = "has Axolotl train other weights than counts and memory here take for granted."
_OBJECTIVE = "trains another objective, whose further models and logits are not in the memory here."
_MEMORY = "moves memory that the figures here take to stay on the card."
_GROUPED = "has 8-bit optimizers keep the states of embeddings in 8 bits, which the memory here takes to be in 32."
_KERNELS = (
    "liger_rms_norm", "liger_rms_norm_gated", "liger_layer_norm", "liger_rope", "liger_swiglu", "liger_glu_activation",
    "torch_compile", "tiled_mlp", "use_kernels", "fp8", "qat", "flash_attn_fuse_mlp", "flash_attn_cross_entropy",
    "flash_attn_rms_norm", "fused_attn_kernel", "large_head_attention", "flash_attn_d512", "gemma4_hybrid_attn_impl",
    "batch_flattening", "selective_checkpointing",
)  # fmt: skip
_MEANING: Mapping[str, str] = {
    "bfloat16": _SPELLING.format(instead="bf16: true"),
    "float16": _SPELLING.format(instead="fp16: true"),
    **dict.fromkeys(_KERNELS, _KERNEL),
    **dict.fromkeys(("tokens", "resize_token_embeddings_to_32x"), _VOCABULARY),
    **dict.fromkeys(("overrides_of_model_config", "overrides_of_model_kwargs", "llama4_linearized_experts"), _MODEL),
    **dict.fromkeys(("unfrozen_parameters", "lisa_n_layers", "optim_target_modules", "use_onebitllms"), _TRAINED),
    **dict.fromkeys(("rl", "reward_model", "process_reward_model", "diffusion_lm", "use_dft", "use_eaft"), _OBJECTIVE),
    **dict.fromkeys(("layer_offloading", "max_memory", "device_map"), _MEMORY),
    **dict.fromkeys(("embedding_lr", "embedding_lr_scale", "lr_groups"), _GROUPED),
}


# Keys that do so by another value than the one that is taken for granted.
_OTHERWISE: Mapping[str, tuple[Any, str]] = {
    "sdpa_varlen": (
        True,
        "keeps packed documents apart by a mask of every pair of tokens, which the memory here lacks.",
    ),
    "experts_implementation": ("grouped_mm", _KERNEL),
}


def find_unmodelled_keys(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """One note for each such key that is set."""
    for key, meaning in _MEANING.items():
        if values.get(key):
            yield Finding(key, "note", f"{key} {meaning}")
    for key, (usual, meaning) in _OTHERWISE.items():
        if values.get(key) not in (None, usual):
            yield Finding(key, "note", f"{key}: {str(values[key]).lower()} {meaning}")
