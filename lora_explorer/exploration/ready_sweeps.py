"""Sweeps that answer what many ask, and ranges worth a look for every setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.exploration.axes import BITS, TARGETS
from lora_explorer.exploration.companions import WEIGHTS_IN_BITS
from lora_explorer.exploration.ranges import values_in
from lora_explorer.memory.switches import NO_LOSS
from lora_explorer.settings import SETTINGS, Group, Recipe, Setting
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG


@dataclass(frozen=True)
class ReadySweep:
    """A question that one press answers.

    name: by which it is asked for. axes: keys of settings, or `targets`, `bits`.
    """

    name: str
    title: str
    question: str
    axes: tuple[str, ...]


READY = (
    ReadySweep("rank", "Rank", "What does each rank cost?", ("lora_r",)),
    ReadySweep("rank-targets", "Rank × targets", "A higher rank, or more modules?", ("lora_r", TARGETS)),
    ReadySweep("length", "Length", "How long can a row be?", ("sequence_len",)),
    ReadySweep(
        "batch-length", "Length × batch", "How many rows of which length?", ("sequence_len", "micro_batch_size")
    ),
    ReadySweep(
        "bits-checkpointing", "Bits × checkpointing", "Which of the two is needed?", (BITS, "gradient_checkpointing")
    ),
    ReadySweep("length-bits", "Length × bits", "How much longer with fewer bits?", ("sequence_len", BITS)),
    ReadySweep("optimizer-rank", "Rank × optimizer", "What do optimizer states cost?", ("lora_r", "optimizer")),
    ReadySweep("bits-model", "Bits × model", "Which base model fits?", (BITS, "base_model")),
)

# They decide how well it learns; not what is trained, what it needs, or how fast it is.
MOVES_NOTHING = frozenset(
    {
        "lora_alpha",
        "peft_use_rslora",
        "learning_rate",
        "num_epochs",
        "max_steps",
        "lr_scheduler",
        "warmup_steps",
        "warmup_ratio",
        "weight_decay",
        "loraplus_lr_ratio",
        "loraplus_lr_embedding",
        "seed",
        "nvfp4_merge_aware",
    }
)
# `bits` and `targets` set these as Axolotl wants them together; a loss needs its plugin beside it.
_SET_BY_OTHERS = frozenset(
    {name for changes in WEIGHTS_IN_BITS.values() for name in changes if "kernel" not in name}
    | {"lora_target_linear", *ATTENTION_OF_FLAG, *NO_LOSS}
)
_EXPLORABLE = ("slider", "number", "checkbox", "choice")

_RANGES: Mapping[str, str] = {
    "base_model": "Qwen/Qwen2.5-0.5B,meta-llama/Llama-3.2-3B,Qwen/Qwen2.5-14B,Qwen/Qwen2.5-32B",
    "lora_r": "4..256 x2",
    "lora_dropout": "0,0.05,0.1",
    "sequence_len": "512..16384 x2",
    "micro_batch_size": "1..16 x2",
    "gradient_accumulation_steps": "1..16 x2",
    "gradient_checkpointing": "false,true,offload",
    "optimizer": "adamw_torch_fused,adamw_bnb_8bit,paged_adamw_8bit,lion_8bit,sgd",
    "max_grad_norm": "0,1",
    "chunked_cross_entropy_num_chunks": "2..16 x2",
    "attn_implementation": "eager,sdpa,flash_attention_2",
    BITS: ",".join(str(bits) for bits in WEIGHTS_IN_BITS),
}
_STEPS_OF_A_SLIDER = 4
# From this ratio on a range is gone through by factors.
_BY_FACTORS_FROM = 16


def explorable_settings() -> Iterator[tuple[Group, tuple[Setting, ...]]]:
    """Settings that a curve or a map can be about, group by group; beside them there are `targets` and `bits`."""
    for group in Group:
        found = tuple(setting for setting in SETTINGS.values() if setting.group is group and _is_explorable(setting))
        if found:
            yield group, found


def _is_explorable(setting: Setting) -> bool:
    return setting.control.kind in _EXPLORABLE and setting.name not in MOVES_NOTHING | _SET_BY_OTHERS


def proposed_range(name: str, recipe: Recipe) -> str:
    """A range worth a look, as it is typed, with the recipe's own value in it.

    name: a setting's key or field, `targets` or `bits`. Empty where every choice there is makes the axis, or where
    nothing sensible is known.
    """
    by_key = {setting.key: setting for setting in SETTINGS.values()} | dict(SETTINGS)
    setting = by_key.get(name)
    if setting is None:
        return _RANGES.get(name, "")
    value = getattr(recipe, setting.name)
    proposed = _RANGES.get(setting.name) or _of_control(setting) or _around(value)
    return _with_own(proposed, value, setting.key) if proposed else ""


def _of_control(setting: Setting) -> str:
    control = setting.control
    if control.kind == "checkbox":
        return "false,true"
    if control.choices:
        return ",".join(control.choices)
    if control.minimum is None or control.maximum is None:
        return ""
    low, high = control.minimum, control.maximum
    if low >= 1 and high >= _BY_FACTORS_FROM * low:
        return f"{low:g}..{high:g} x2"
    return f"{low:g}..{high:g} +{(high - low) / _STEPS_OF_A_SLIDER:g}"


def _around(value: Any) -> str:
    """From a quarter of a number to four times it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
        return ""
    low = max(value // 4, 1) if isinstance(value, int) else value / 4
    return f"{low:g}..{value * 4:g} x2"


def _with_own(proposed: str, value: Any, key: str) -> str:
    if value is None or _is_in(value, values_in(proposed, key)):
        return proposed
    return f"{proposed},{str(value).lower() if isinstance(value, bool) else value}"


def _is_in(value: Any, values: tuple[Any, ...]) -> bool:
    if isinstance(value, float):
        return any(isinstance(each, (int, float)) and math.isclose(each, value) for each in values)
    return value in values
