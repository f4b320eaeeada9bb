"""A Python script that trains with Unsloth. Facts: Unsloth 2026.10, FastLanguageModel, and TRL's SFTConfig."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import trainer_arguments as trainer
from lora_explorer.exports.exported import Exported, as_comments
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.peft.words import PEFT
from lora_explorer.exports.python_file import Code, call
from lora_explorer.exports.target_names import with_names
from lora_explorer.exports.vocabulary import Conversion, Said, Vocabulary, otherwise, say
from lora_explorer.findings import Finding
from lora_explorer.settings import Group, Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

TITLE = "Unsloth"
_LOADER = "FastLanguageModel"
_DATA = 'load_dataset("yahma/alpaca-cleaned", split="train")'
# Unsloth trains these in full where PEFT would put a layer of its own beside them.
_EMBEDDINGS = ("embed_tokens", "lm_head")

_ADAPTER = replace(
    PEFT,
    title=TITLE,
    conversions=(*PEFT.conversions, trainer.always_in_float32(TITLE)),
)


def _write_checkpointing(recipe: Recipe) -> Iterator[Said]:
    offloading = recipe.activation_offloading
    if offloading and offloading is not True:
        message = f"{TITLE} offloads to host memory in its own way; activation_offloading {offloading} is left out."
        yield otherwise("activation_offloading", message, "note")


_TRAINING = Vocabulary(
    title=TITLE,
    words="unsloth",
    groups=(Group.BASE_MODEL, Group.TRAINING, Group.HARDWARE),
    defaults=trainer.DEFAULTS,
    conversions=(
        trainer.precision(),
        trainer.optimizers(TITLE),
        trainer.schedulers(TITLE),
        trainer.STEPS,
        trainer.WARMUP_AS_STEPS,
        trainer.TF32,
        Conversion(("gradient_checkpointing", "activation_offloading"), (), _write_checkpointing, lambda entries: ()),
    ),
    # Said where the model is loaded; Unsloth has fused kernels of its own and picks the attention.
    by_itself=trainer.BY_ITSELF
    | {"base_model", "load_in_4bit", "load_in_8bit", "attn_implementation"}
    | {"lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"},
)


def export_unsloth(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """What cannot be said stands above, as comments."""
    named = with_names(filled_in(recipe), skeleton)
    adapter, about_adapter = say(_ADAPTER, named) if recipe.adapter else ({}, ())
    adapter.pop("autocast_adapter_dtype", None)
    training, about_training = say(_TRAINING, named)
    unsaid = (*about_adapter, *_embeddings(named), *about_training)
    parts = [
        f"# python unsloth_sft.py, on a machine with a GPU\n{as_comments(unsaid)}",
        # It changes the libraries behind it, so it comes first.
        "import torch\nfrom unsloth import FastLanguageModel\n\n"
        "from datasets import load_dataset\nfrom trl import SFTConfig, SFTTrainer\n",
        "model, tokenizer = " + call(f"{_LOADER}.from_pretrained", _loading(named)),
        *(["model = " + call(f"{_LOADER}.get_peft_model", adapter | _preparing(named), "model")] if adapter else []),
        _trainer(training),
    ]
    return Exported("\n".join(parts), unsaid)


def _loading(recipe: Recipe) -> dict[str, Any]:
    return {
        "model_name": recipe.base_model or "owner/name",
        "max_seq_length": recipe.sequence_len,
        "dtype": Code(f"torch.{trainer.base_dtype(recipe)}"),
        "load_in_4bit": bool(recipe.adapter and recipe.load_in_4bit),
        "load_in_8bit": bool(recipe.adapter and recipe.load_in_8bit),
        "full_finetuning": not recipe.adapter,
        "use_gradient_checkpointing": _checkpointing(recipe),
    }


def _preparing(recipe: Recipe) -> dict[str, Any]:
    seed = {} if recipe.seed is None else {"random_state": recipe.seed}
    return {"bias": "none", "use_gradient_checkpointing": _checkpointing(recipe), **seed}


def _checkpointing(recipe: Recipe) -> bool | str:
    """Its own kind moves what is kept to host memory."""
    return (
        "unsloth"
        if recipe.gradient_checkpointing and recipe.activation_offloading
        else bool(recipe.gradient_checkpointing)
    )


def _embeddings(recipe: Recipe) -> Iterator[Finding]:
    named = recipe.lora_target_modules if isinstance(recipe.lora_target_modules, tuple) else ()
    moved = [name for name in named if name.rpartition(".")[2] in _EMBEDDINGS]
    if recipe.adapter and moved:
        message = f"{TITLE} trains {', '.join(moved)} in full instead of adapting it."
        yield otherwise("lora_target_modules", message)


def _trainer(arguments: dict[str, Any]) -> str:
    lines = {
        "model": Code("model"),
        "processing_class": Code("tokenizer"),
        "train_dataset": Code(_DATA),
        "args": Code(call("SFTConfig", {**arguments, "output_dir": "./model-out"})),
    }
    return "# Your data goes here.\ntrainer = " + call("SFTTrainer", lines) + "\ntrainer.train()\n"
