"""The single changes to a recipe that are made to save memory. Whether and how much they save is for a trace to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lora_explorer.settings import Recipe
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG, CUT_CROSS_ENTROPY_PLUGIN, LIGER_PLUGIN

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel

ALLOCATOR = "PYTORCH_ALLOC_CONF"
EXPANDABLE = "expandable_segments:True"

_SHORTEST_TOKENS = 256
_SMALLEST_RANK = 4
NO_LOSS: Mapping[str, Any] = {
    "liger_fused_linear_cross_entropy": False,
    "liger_cross_entropy": False,
    "chunked_cross_entropy": False,
    "cut_cross_entropy": None,
}
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
_SMALLER_STATES: Mapping[str, tuple[str, ...]] = {
    "adamw": ("adamw_bnb_8bit", "paged_adamw_8bit"),
    "lion": ("lion_8bit", "paged_lion_8bit"),
    "ademamix": ("ademamix_8bit", "paged_ademamix_8bit"),
}


@dataclass(frozen=True)
class Switch:
    """One change that a user could make.

    setting, value: what it is about. changes: every setting that changes, by field name; empty for the allocator's,
    which is no setting of the recipe but an environment variable.
    """

    setting: str
    value: Any
    changes: Mapping[str, Any]


def switches(recipe: Recipe, base_model: BaseModel, *, expandable_segments: bool) -> Iterator[Switch]:
    """Every switch that is not on yet."""
    for topic in _TOPICS:
        yield from topic(recipe)
    yield from _fewer_targets(recipe, base_model)
    if not expandable_segments:
        yield Switch(ALLOCATOR, EXPANDABLE, {})


def _switch(recipe: Recipe, setting: str, value: Any, **others: Any) -> Switch:
    """others: settings that must change with it, where they are not as they must be already."""
    needed = {name: other for name, other in others.items() if getattr(recipe, name) != other}
    return Switch(setting, value, {setting: value, **needed})


def _checkpointing(recipe: Recipe) -> Iterator[Switch]:
    if not recipe.gradient_checkpointing:
        yield _switch(recipe, "gradient_checkpointing", True)
    elif not recipe.activation_offloading and recipe.gradient_checkpointing is True:
        yield _switch(recipe, "activation_offloading", True)


def _attention(recipe: Recipe) -> Iterator[Switch]:
    flags = dict.fromkeys(ATTENTION_OF_FLAG, False)
    for kernel in ("sdpa", "flash_attention_2"):
        if recipe.attention not in (kernel, "flash_attention_3", "flash_attention_4"):
            yield _switch(recipe, "attn_implementation", kernel, **flags)


def _loss(recipe: Recipe) -> Iterator[Switch]:
    others = tuple(plugin for plugin in recipe.plugins if plugin not in (LIGER_PLUGIN, CUT_CROSS_ENTROPY_PLUGIN))
    if not recipe.liger_fused_linear_cross_entropy:
        plugins = (*others, LIGER_PLUGIN)
        rest = {**NO_LOSS, "plugins": plugins}
        del rest["liger_fused_linear_cross_entropy"]
        yield _switch(recipe, "liger_fused_linear_cross_entropy", True, **rest)
    if CUT_CROSS_ENTROPY_PLUGIN not in recipe.plugins:
        kept = tuple(plugin for plugin in recipe.plugins if plugin != CUT_CROSS_ENTROPY_PLUGIN)
        rest = {**NO_LOSS, "plugins": (*kept, CUT_CROSS_ENTROPY_PLUGIN)}
        del rest["cut_cross_entropy"]
        switch = _switch(recipe, "cut_cross_entropy", True, **rest)
        yield replace(switch, changes={**switch.changes, **half_precision_written(recipe)})
    if not recipe.chunked_cross_entropy:
        rest = {**NO_LOSS, "plugins": others}
        del rest["chunked_cross_entropy"]
        yield _switch(recipe, "chunked_cross_entropy", True, **rest)


def half_precision_written(recipe: Recipe) -> dict[str, Any]:
    """Beside cut cross-entropy: Axolotl looks for it in the file before its own `bf16: auto` is in force.

    true, which is what `auto` comes to on every card, and which a control can tell from an absent key.
    """
    written = recipe.fp16 or (recipe.bf16 and "bf16" in recipe.model_fields_set)
    return {} if written else {"bf16": True}


def _weights(recipe: Recipe) -> Iterator[Switch]:
    if not recipe.adapter:
        return
    if recipe.adapter == "lora":
        if not recipe.load_in_8bit:
            yield _switch(recipe, "load_in_8bit", True, **dict.fromkeys(_KERNELS))
        yield _switch(recipe, "load_in_4bit", True, adapter="qlora", load_in_8bit=False)
    options = dict(recipe.bnb_config_kwargs)
    if recipe.load_in_4bit and options.get("bnb_4bit_use_double_quant") is False:
        yield _switch(recipe, "bnb_config_kwargs", {**options, "bnb_4bit_use_double_quant": True})


def _precision(recipe: Recipe) -> Iterator[Switch]:
    if recipe.bf16 is False and not recipe.fp16:
        yield _switch(recipe, "bf16", "auto")


def _optimizer(recipe: Recipe) -> Iterator[Switch]:
    family = next((name for name in _SMALLER_STATES if name in recipe.optimizer), None)
    eight, paged = _SMALLER_STATES.get(family or "", ("", ""))
    if family and "8bit" not in recipe.optimizer and "4bit" not in recipe.optimizer:
        yield _switch(recipe, "optimizer", eight)
    if family and not recipe.optimizer.startswith("paged"):
        yield _switch(recipe, "optimizer", paged)


def _tokens(recipe: Recipe) -> Iterator[Switch]:
    rows = recipe.micro_batch_size
    if rows > 1 and rows % 2 == 0:
        steps = 2 * recipe.gradient_accumulation_steps
        yield _switch(recipe, "micro_batch_size", rows // 2, gradient_accumulation_steps=steps)
    if recipe.sequence_len >= 2 * _SHORTEST_TOKENS:
        yield _switch(recipe, "sequence_len", recipe.sequence_len // 2)


def _kernels(recipe: Recipe) -> Iterator[Switch]:
    given = [getattr(recipe, name) for name in _KERNELS]
    # All of them empty means that Axolotl turns them on where it can.
    if recipe.adapter and any(value is not None for value in given) and not all(given) and not recipe.load_in_8bit:
        yield _switch(recipe, "lora_mlp_kernel", True, lora_qkv_kernel=True, lora_o_kernel=True)


def _adapter(recipe: Recipe) -> Iterator[Switch]:
    if not recipe.adapter:
        return
    if recipe.lora_r and recipe.lora_r >= 2 * _SMALLEST_RANK:
        yield _switch(recipe, "lora_r", recipe.lora_r // 2)
    if recipe.peft_use_dora:
        yield _switch(recipe, "peft_use_dora", False)
    if recipe.lora_dropout:
        yield _switch(recipe, "lora_dropout", 0)
    if recipe.lora_modules_to_save:
        yield _switch(recipe, "lora_modules_to_save", ())


def _fewer_targets(recipe: Recipe, base_model: BaseModel) -> Iterator[Switch]:
    """Only the attention's projections, where more than these are adapted."""
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    if not recipe.adapter:
        return
    adapted = [module for module in plan_adapter(recipe, load_skeleton(base_model)).modules if module.r is not None]
    kinds = dict.fromkeys(module.kind for module in adapted if "attn" in module.path or "attention" in module.path)
    if kinds and len(kinds) < len({module.kind for module in adapted}):
        names = tuple(kinds)
        yield _switch(recipe, "lora_target_modules", names, lora_target_linear=False, lora_target_parameters=None)


_TOPICS: tuple[Callable[[Recipe], Iterator[Switch]], ...] = (
    _checkpointing, _attention, _loss, _weights, _precision, _optimizer, _tokens, _kernels, _adapter,
)  # fmt: skip
