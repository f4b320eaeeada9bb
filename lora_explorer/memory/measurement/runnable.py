"""A configuration as it can be run here: without kernels of packages that are not there, and at a size a CPU can bear.

What is changed is said, and the prediction that a measurement is held against is that of the changed configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lora_explorer.errors import MeasurementFailed
from lora_explorer.memory.plan.known_optimizers import OPTIMIZERS
from lora_explorer.settings import Recipe

HOST_ROWS = 2
HOST_TOKENS = 128

_SDPA = {
    "attn_implementation": "sdpa", "flash_attention": False, "sdp_attention": False, "xformers_attention": False,
    "flex_attention": False, "sage_attention": False, "eager_attention": False,
}  # fmt: skip
_PLAIN_LORA = {f"lora_{kernel}_kernel": False for kernel in ("mlp", "qkv", "o", "embedding")}
_PLAIN_LOSS = {
    "liger_fused_linear_cross_entropy": False, "liger_cross_entropy": False, "cut_cross_entropy": False,
    "plugins": (),
}  # fmt: skip


class Change(NamedTuple):
    """applies: to which configurations. update: settings in place of theirs. note: what that means, None if nothing."""

    applies: Callable[[Recipe], bool]
    update: Mapping[str, Any]
    note: str | None = None


_ANYWHERE = (
    Change(lambda recipe: True, _PLAIN_LORA),
    Change(
        lambda recipe: recipe.adapter is not None and not any(getattr(recipe, name) is False for name in _PLAIN_LORA),
        {},
        "LoRA ran through PEFT's own layers, not through Axolotl's kernels.",
    ),
    Change(lambda recipe: bool(recipe.plugins), _PLAIN_LOSS, "The loss was transformers' own, without plugins."),
    Change(lambda recipe: recipe.sample_packing, {"sample_packing": False}, "Rows were full, but not packed."),
    Change(
        lambda recipe: recipe.gradient_accumulation_steps > 1,
        {"gradient_accumulation_steps": 1},
        "Gradients were not accumulated.",
    ),
    Change(
        lambda recipe: bool(recipe.activation_offloading) or str(recipe.gradient_checkpointing).startswith("offload"),
        {"gradient_checkpointing": True, "activation_offloading": False},
        "Layers were checkpointed, but nothing was offloaded.",
    ),
    Change(
        lambda recipe: recipe.attention not in (None, "eager", "sdpa"),
        _SDPA,
        "Attention was PyTorch's scaled dot product.",
    ),
)
_ON_A_HOST = (
    Change(lambda recipe: True, {"bf16": False, "fp16": False}, "It ran in float32 without autocast."),
    Change(
        lambda recipe: recipe.micro_batch_size > HOST_ROWS or recipe.sequence_len > HOST_TOKENS,
        {},
        f"A CPU takes at most {HOST_ROWS} rows of {HOST_TOKENS} tokens here.",
    ),
)


def runnable_on_cuda(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The configuration as a GPU can run it with what is installed, and what was changed. Raises MeasurementFailed."""
    if recipe.quantize_moe_experts:
        raise MeasurementFailed(
            "The step was not run: only Axolotl itself loads a model with its experts quantized.",
            setting="quantize_moe_experts",
        )
    return _changed(recipe, _ANYWHERE)


def runnable_on_host(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The configuration as a CPU can run it, and what was changed. Raises MeasurementFailed where it cannot."""
    if recipe.adapter == "lora" and recipe.load_in_8bit:
        raise MeasurementFailed(
            "The step was not run: bitsandbytes multiplies 8-bit weights in another way on a CPU than on a GPU.",
            setting="load_in_8bit",
        )
    anywhere, notes = runnable_on_cuda(recipe)
    changed, further = _changed(anywhere, _ON_A_HOST)
    smaller = {
        "micro_batch_size": min(recipe.micro_batch_size, HOST_ROWS),
        "sequence_len": min(recipe.sequence_len, HOST_TOKENS),
        "optimizer": _resident(recipe.optimizer),
    }
    return changed.model_copy(update=smaller), (*notes, *further)


def _resident(optimizer: str) -> str:
    """Paging is the CUDA driver's: the same optimizer without it."""
    resident = optimizer.removeprefix("paged_")
    if resident not in OPTIMIZERS:
        raise MeasurementFailed(
            f"The step was not run: {optimizer} has no form that runs on a CPU.", setting="optimizer"
        )
    return resident


def _changed(recipe: Recipe, changes: tuple[Change, ...]) -> tuple[Recipe, tuple[str, ...]]:
    applying = [change for change in changes if change.applies(recipe)]
    update = {name: value for change in applying for name, value in change.update.items()}
    return recipe.model_copy(update=update), tuple(change.note for change in applying if change.note)
