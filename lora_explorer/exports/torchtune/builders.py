"""torchtune's model builders, by the base models that they build. Facts: torchtune 0.6.1.

Left out are families whose fused projections torchtune takes apart, so that the same names train other matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lora_explorer.base_models.preset import find_preset
from lora_explorer.errors import ExportRefused

MODELS = "torchtune.models."


@dataclass(frozen=True)
class Builder:
    """path: of the function that builds the model with its adapter. checkpoint: the checkpointer's model_type.

    tokenizer: its class, and its files below the checkpoint's folder by their arguments. tied: head and embedding are
    one, so that the head has no adapter of its own.
    """

    path: str
    checkpoint: str
    tokenizer: str
    tokenizer_files: Mapping[str, str]
    tied: bool


def _family(
    checkpoint: str, tokenizer: str, files: Mapping[str, str], sizes: Mapping[str, str], *, tied: bool = False
) -> dict[str, Builder]:
    """sizes: functions by the base models they build."""
    return {
        base_model: Builder(f"{MODELS}{path}", checkpoint, f"{MODELS}{tokenizer}", files, tied)
        for base_model, path in sizes.items()
    }


_SENTENCEPIECE = {"path": "tokenizer.model"}
_LLAMA3 = {"path": "original/tokenizer.model"}
_QWEN = {"path": "vocab.json", "merges_file": "merges.txt"}
_LLAMA3_TOKENIZER = "llama3.llama3_tokenizer"
_QWEN_TOKENIZER = "qwen2_5.qwen2_5_tokenizer"
_GEMMA_TOKENIZER = "gemma.gemma_tokenizer"
_LLAMA2_SIZES = {
    "meta-llama/Llama-2-7b-hf": "llama2.lora_llama2_7b",
    "meta-llama/Llama-2-13b-hf": "llama2.lora_llama2_13b",
    "meta-llama/Llama-2-70b-hf": "llama2.lora_llama2_70b",
}
_LLAMA3_SIZES = {
    "meta-llama/Meta-Llama-3-8B": "llama3.lora_llama3_8b",
    "meta-llama/Meta-Llama-3-70B": "llama3.lora_llama3_70b",
    "meta-llama/Llama-3.1-8B": "llama3_1.lora_llama3_1_8b",
    "meta-llama/Llama-3.1-70B": "llama3_1.lora_llama3_1_70b",
    "meta-llama/Llama-3.1-405B": "llama3_1.lora_llama3_1_405b",
    "meta-llama/Llama-3.3-70B-Instruct": "llama3_3.lora_llama3_3_70b",
}
_LLAMA32_SIZES = {
    "meta-llama/Llama-3.2-1B": "llama3_2.lora_llama3_2_1b",
    "meta-llama/Llama-3.2-3B": "llama3_2.lora_llama3_2_3b",
}
_MISTRAL_SIZES = {"mistralai/Mistral-7B-v0.1": "mistral.lora_mistral_7b"}
_GEMMA_SIZES = {"google/gemma-2b": "gemma.lora_gemma_2b", "google/gemma-7b": "gemma.lora_gemma_7b"}
_GEMMA2_SIZES = {
    "google/gemma-2-2b": "gemma2.lora_gemma2_2b",
    "google/gemma-2-9b": "gemma2.lora_gemma2_9b",
    "google/gemma-2-27b": "gemma2.lora_gemma2_27b",
}
_TIED_QWEN_SIZES = {
    "Qwen/Qwen2.5-0.5B": "qwen2_5.lora_qwen2_5_0_5b",
    "Qwen/Qwen2.5-1.5B": "qwen2_5.lora_qwen2_5_1_5b_base",
    "Qwen/Qwen2.5-3B": "qwen2_5.lora_qwen2_5_3b",
}
_QWEN_SIZES = {
    "Qwen/Qwen2.5-7B": "qwen2_5.lora_qwen2_5_7b_base",
    "Qwen/Qwen2.5-14B": "qwen2_5.lora_qwen2_5_14b_base",
    "Qwen/Qwen2.5-32B": "qwen2_5.lora_qwen2_5_32b_base",
    "Qwen/Qwen2.5-72B": "qwen2_5.lora_qwen2_5_72b_base",
}
BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        **_family("LLAMA2", "llama2.llama2_tokenizer", _SENTENCEPIECE, _LLAMA2_SIZES),
        **_family("LLAMA3", _LLAMA3_TOKENIZER, _LLAMA3, _LLAMA3_SIZES),
        **_family("LLAMA3_2", _LLAMA3_TOKENIZER, _LLAMA3, _LLAMA32_SIZES, tied=True),
        **_family("MISTRAL", "mistral.mistral_tokenizer", _SENTENCEPIECE, _MISTRAL_SIZES),
        **_family("GEMMA", _GEMMA_TOKENIZER, _SENTENCEPIECE, _GEMMA_SIZES, tied=True),
        **_family("GEMMA2", _GEMMA_TOKENIZER, _SENTENCEPIECE, _GEMMA2_SIZES, tied=True),
        **_family("QWEN2", _QWEN_TOKENIZER, _QWEN, _TIED_QWEN_SIZES, tied=True),
        **_family("QWEN2", _QWEN_TOKENIZER, _QWEN, _QWEN_SIZES),
    }
)


def builder_of(base_model: str | None) -> Builder:
    """The builder of a base model. Raises ExportRefused where torchtune has none."""
    preset = find_preset(base_model) if base_model else None
    if preset is None or preset.id not in BUILDERS:
        families = "Llama 2 and 3, Mistral 7B, Gemma 1 and 2, Qwen2.5"
        message = f"torchtune has no builder for {base_model or 'an empty base_model'}; it builds {families}."
        raise ExportRefused(message, setting="base_model")
    return BUILDERS[preset.id]


def preset_of(path: str) -> str | None:
    """The base model that a builder builds; its QLoRA form and that for the instruct model build the same."""
    wanted = _plain(path.replace(".qlora_", ".lora_"))
    return next((base_model for base_model, builder in BUILDERS.items() if _plain(builder.path) == wanted), None)


def _plain(path: str) -> str:
    return path.removesuffix("_base").removesuffix("_instruct")
