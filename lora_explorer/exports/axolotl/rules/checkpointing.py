"""Rules about selective checkpointing, compiling, precision and fused losses. Facts: Axolotl 0.21's validators."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any

from lora_explorer.exports.axolotl.kernels import kernel_is_on
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

# The modules whose forward pass a fused kernel replaces.
_REPLACED = {
    "lora_mlp_kernel": (
        "gate_proj", "up_proj", "down_proj", "mlp", "mixer", "shared_experts", "shared_expert", "feedforward",
        "experts", "gate_projs", "up_projs", "down_projs",
    ),
    "lora_qkv_kernel": (
        "q_proj", "k_proj", "v_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "self_attn",
        "linear_attn", "mixer",
    ),
    "lora_o_kernel": ("o_proj", "out_proj", "self_attn", "linear_attn", "mixer"),
    "flash_attn_fuse_mlp": ("gate_proj", "up_proj", "down_proj", "mlp"),
}  # fmt: skip
# What holds a whole layer, or several.
_CONTAINERS = (
    "model", "language_model", "text_model", "decoder", "transformer", "backbone", "layers", "layer", "h", "blocks",
    "block", *(str(number) for number in range(100)),
)  # fmt: skip
_PRODUCTS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")
_GLOB = frozenset("*?[")
_COMPILE_OPTIONS = frozenset(
    (
        "coordinate_descent_tuning", "coordinate_descent_check_all_directions", "shape_padding", "epilogue_fusion",
        "max_autotune_gemm", "fx_graph_cache", "assume_aligned_inputs", "comprehensive_padding",
        "decompose_mem_bound_mm", "triton.cudagraphs",
    )
)  # fmt: skip
_LOSSES_BESIDE = (
    "rl", "reward_model", "process_reward_model", "cut_cross_entropy", "liger_fused_linear_cross_entropy",
    "chunked_cross_entropy",
)  # fmt: skip


def _saved(file: FileValues, key: str) -> Any:
    return block(file, "selective_checkpointing").get(key)


def _covered(entry: str, names: Iterable[str], *, numbers: bool = False) -> bool:
    last = entry.strip().rpartition(".")[2]
    if _GLOB & set(last):
        return any(fnmatch.fnmatchcase(name, last) for name in names)
    return last in names or (numbers and last.isdigit())


def _replaced_by(file: FileValues) -> tuple[str, ...]:
    """The kernels that are on, or will be, and replace a module whose products are to be saved."""
    entries = _saved(file, "save_modules") or ()
    return tuple(
        kernel
        for kernel, modules in _REPLACED.items()
        if kernel_is_on(file, kernel)
        for entry in entries
        if _covered(entry, modules) or (kernel.startswith("lora_") and _covered(entry, _CONTAINERS, numbers=True))
    )


def _products_saved(file: FileValues) -> bool:
    specs = _saved(file, "save") or ()
    matched = any(spec != "attention" and any(spec in product for product in _PRODUCTS) for spec in specs)
    return bool(matched or _saved(file, "save_matmul_min_k"))


def _kernels_on(file: FileValues) -> tuple[str, ...]:
    return tuple(name for name in ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel") if kernel_is_on(file, name))


def _kernels_off(file: FileValues) -> Fix:
    return tuple((name, False) for name in _kernels_on(file))


def _whole_chunks(file: FileValues) -> bool:
    size = file.get("cut_cross_entropy_c_grad_chunk_size") or 0
    return size == "auto" or (size >= 0 and size % 128 == 0)


def _selective(file: FileValues) -> Any:
    return file.get("selective_checkpointing")


CHECKPOINTING_FILE_RULES: tuple[FileRule, ...] = (
    refused(
        "selective_checkpointing",
        lambda file: _selective(file) and not file.get("gradient_checkpointing"),
        "selective_checkpointing needs gradient_checkpointing.",
        fix=(("gradient_checkpointing", True),),
    ),
    refused(
        "selective_checkpointing",
        lambda file: _selective(file) and file.get("gradient_checkpointing") and reentrant(file),
        "selective_checkpointing needs gradient_checkpointing_kwargs with use_reentrant: false.",
        fix=(("gradient_checkpointing_kwargs.use_reentrant", False),),
    ),
    refused(
        "activation_offloading",
        lambda file: (
            _selective(file)
            and (
                file.get("activation_offloading") not in (None, False, "hidden_states")
                or file.get("gradient_checkpointing") in ("offload", "offload_disk")
            )
        ),
        "selective_checkpointing goes with activation_offloading: hidden_states only.",
        why="The other ways to offload take the place of checkpointing.",
        fix=(("activation_offloading", "hidden_states"), ("gradient_checkpointing", True)),
    ),
    refused(
        "selective_checkpointing.save",
        lambda file: _kernels_on(file) and _products_saved(file),
        "selective_checkpointing cannot save matrix products while fused LoRA kernels are on; Axolotl turns them on.",
        why="The kernels add the adapter's part into the saved product itself.",
        fix=_kernels_off,
    ),
    refused(
        "selective_checkpointing.save_modules",
        _replaced_by,
        "selective_checkpointing.save_modules names modules that a fused kernel replaces.",
        why="Their own forward pass does not run then, so nothing would be saved. Axolotl turns the LoRA kernels on.",
        fix=lambda file: tuple((kernel, False) for kernel in dict.fromkeys(_replaced_by(file))),
    ),
    refused(
        "torch_compile_regional",
        lambda file: (
            file.get("torch_compile") and file.get("torch_compile_regional") and file.get("gradient_checkpointing")
        ),
        "torch_compile_regional does not go with gradient_checkpointing.",
        fix=(("torch_compile_regional", False),),
    ),
    refused(
        "torch_compile_options",
        lambda file: file.get("torch_compile_options") is not None and not file.get("torch_compile"),
        "torch_compile_options needs torch_compile.",
        fix=(("torch_compile", True),),
    ),
    refused(
        "torch_compile_options",
        lambda file: set(block(file, "torch_compile_options")) - _COMPILE_OPTIONS,
        "torch_compile_options holds an option that Axolotl does not take.",
    ),
    refused(
        "fp8_config",
        lambda file: file.get("fp8_config") is not None and not file.get("fp8"),
        "fp8_config needs fp8: true.",
        fix=without("fp8_config"),
    ),
    refused(
        "fp8_enable_fsdp_float8_all_gather",
        lambda file: (
            file.get("fp8_enable_fsdp_float8_all_gather")
            and block(file, "fp8_config").get("recipe", "tensorwise") != "tensorwise"
        ),
        "fp8_enable_fsdp_float8_all_gather goes with fp8_config.recipe: tensorwise only.",
        fix=(("fp8_config.recipe", "tensorwise"),),
    ),
    refused(
        "fp8_enable_fsdp_float8_all_gather",
        lambda file: file.get("fp8_enable_fsdp_float8_all_gather") and not file.get("fsdp_config"),
        "fp8_enable_fsdp_float8_all_gather needs fsdp_config.",
        fix=without("fp8_enable_fsdp_float8_all_gather"),
    ),
    warned(
        "fp8",
        lambda file: file.get("fp8") and not file.get("torch_compile"),
        "fp8 is hardly faster without torch_compile.",
        fix=(("torch_compile", True),),
    ),
    refused(
        "flash_optimum",
        lambda file: file.get("flash_optimum") and (file.get("fp16") or file.get("bf16", "auto")),
        "flash_optimum does not go with bf16 or fp16, and bf16 is auto where it is not set.",
        fix=without("flash_optimum"),
    ),
    refused(
        "use_dft",
        lambda file: file.get("use_dft") and file.get("use_eaft"),
        "use_dft and use_eaft exclude each other.",
    ),
    refused(
        "use_dft",
        lambda file: (
            any_of(file, "use_dft", "use_eaft")
            and (
                any_of(file, *_LOSSES_BESIDE)
                or number(file, "context_parallel_size", file.get("sequence_parallel_degree") or 1) > 1
            )
        ),
        "use_dft and use_eaft go with plain fine-tuning on one sequence a card, and with no other loss.",
    ),
    refused(
        "cut_cross_entropy_c_grad_chunk_size",
        lambda file: (
            has_plugin(file, "cut_cross_entropy")
            and file.get("cut_cross_entropy_c_grad_chunk_size")
            and not file.get("cut_cross_entropy_accum_c_fp32")
        ),
        "cut_cross_entropy_c_grad_chunk_size needs cut_cross_entropy_accum_c_fp32.",
        fix=(("cut_cross_entropy_accum_c_fp32", True),),
    ),
    refused(
        "cut_cross_entropy_c_grad_chunk_size",
        lambda file: has_plugin(file, "cut_cross_entropy") and not _whole_chunks(file),
        "cut_cross_entropy_c_grad_chunk_size must be auto or a multiple of 128.",
        fix=(("cut_cross_entropy_c_grad_chunk_size", "auto"),),
    ),
    refused(
        "liger_glu_activation",
        lambda file: (
            has_plugin(file, "liger")
            and file.get("liger_swiglu") is not None
            and file.get("liger_glu_activation") is not None
        ),
        "liger_swiglu is the old name of liger_glu_activation, and Axolotl refuses both together.",
        fix=without("liger_swiglu"),
    ),
    refused(
        "tiled_mlp",
        lambda file: (
            has_plugin(file, "liger")
            and file.get("liger_glu_activation") is True
            and file.get("tiled_mlp") is True
            and not file.get("tiled_mlp_use_original_mlp")
        ),
        "tiled_mlp beside liger_glu_activation needs tiled_mlp_use_original_mlp: true.",
        fix=(("tiled_mlp_use_original_mlp", True),),
    ),
    refused(
        "liger_use_token_scaling",
        lambda file: (
            has_plugin(file, "liger")
            and file.get("liger_use_token_scaling")
            and not file.get("liger_fused_linear_cross_entropy")
        ),
        "liger_use_token_scaling needs liger_fused_linear_cross_entropy.",
        fix=without("liger_use_token_scaling"),
    ),
)
