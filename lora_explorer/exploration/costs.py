"""What a change that saves memory costs: the one table of these facts, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lora_explorer.memory.switches import ALLOCATOR

Level = Literal["nothing", "time", "precision", "learning"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Cost:
    """level: what is paid with, the least first in LEVELS. note: one sentence. source: where that is from."""

    level: Level
    note: str
    source: str

    @property
    def rank(self) -> int:
        return LEVELS.index(self.level)


def cost_of(setting: str, value: Any) -> Cost:
    """What a change costs, by the setting that it is about and its new value."""
    found = _COSTS[setting]
    return found if isinstance(found, Cost) else found(value)


_CHECKPOINTING = "Chen et al. 2016, sublinear memory cost, arXiv 1604.06174"
_FLASH = "Dao 2023, FlashAttention-2, arXiv 2307.08691"
_LIGER = "Hsu et al. 2024, Liger Kernel, arXiv 2410.10989"
_CUT = "Wijmans et al. 2024, Cut Your Losses, arXiv 2411.09009"
_AXOLOTL = "Axolotl 0.21, configuration schema"
_KERNELS = "Axolotl 0.21, documentation of its LoRA optimizations"
_INT8 = "Dettmers et al. 2022, LLM.int8(), arXiv 2208.07339"
_QLORA = "Dettmers et al. 2023, QLoRA, arXiv 2305.14314"
_EIGHT_BIT = "Dettmers et al. 2021, 8-bit optimizers, arXiv 2110.02861"
_BFLOAT16 = "Kalamkar et al. 2019, a study of bfloat16, arXiv 1905.12322"
_TRAINER = "transformers, Trainer (num_items_in_batch)"
_LESS = "Biderman et al. 2024, LoRA learns less and forgets less, arXiv 2405.09673"
_DORA = "Liu et al. 2024, DoRA, arXiv 2402.09353"
_PEFT = "PEFT 0.21, LoraConfig"
_PYTORCH = "PyTorch, notes on CUDA memory management"


def _attention(kernel: Any) -> Cost:
    where = "; it needs the flash-attn package" if "flash" in str(kernel) else ""
    return Cost("nothing", f"The same attention, computed without holding its scores, and faster{where}.", _FLASH)


def _optimizer(name: Any) -> Cost:
    if str(name).startswith("paged"):
        return Cost(
            "precision",
            "States in 8 bits, which training has been shown to bear, and moved to host memory where the card is full.",
            _QLORA,
        )
    return Cost("precision", "States in 8 bits by blocks; the paper finds the results of 32 bits.", _EIGHT_BIT)


def _attention_only(_: Any) -> Cost:
    return Cost(
        "learning",
        "Fewer modules learn: the paper finds all modules best, then the MLP's, and attention alone last.",
        _LESS,
    )


_COSTS: Mapping[str, Cost | Callable[[Any], Cost]] = {
    "gradient_checkpointing": Cost(
        "time", "The same result; the forward pass runs twice, about a third more work.", _CHECKPOINTING
    ),
    "activation_offloading": Cost(
        "time", "The same result; what is kept travels to host memory and back in every step.", _AXOLOTL
    ),
    "attn_implementation": _attention,
    "liger_fused_linear_cross_entropy": Cost(
        "nothing", "The same loss but for rounding, computed in chunks together with the head.", _LIGER
    ),
    "cut_cross_entropy": Cost(
        "nothing", "The same loss; gradients too small for the precision are left out, without harm in the paper.", _CUT
    ),
    "chunked_cross_entropy": Cost("nothing", "The same loss, reduced in chunks.", _AXOLOTL),
    "load_in_8bit": Cost("precision", "Base weights are rounded to 8 bits, and products with them are slower.", _INT8),
    "load_in_4bit": Cost(
        "precision",
        "Base weights are rounded to 4 bits, and unpacked in every step; the paper finds the results of 16 bits.",
        _QLORA,
    ),
    "bnb_config_kwargs": Cost(
        "precision", "The scales of the 4-bit weights are quantized too; the paper finds no loss.", _QLORA
    ),
    "bf16": Cost(
        "precision", "Computes in bfloat16, which trains like float32 in the study, and is faster on most cards.",
        _BFLOAT16,
    ),
    "optimizer": _optimizer,
    "micro_batch_size": Cost(
        "time", "The same effective batch in more, smaller passes, which use the card less well.", _TRAINER
    ),
    "sequence_len": Cost(
        "learning", "Longer rows are dropped, or cut where excess_length_strategy says so.", _AXOLOTL
    ),
    "lora_mlp_kernel": Cost("nothing", "The same result but for rounding, in fused kernels, and faster.", _KERNELS),
    "lora_r": Cost("learning", "Half the width to learn in; the paper finds that hard tasks use high ranks.", _LESS),
    "peft_use_dora": Cost(
        "learning", "Magnitudes are no longer learned apart, which the paper finds better at equal rank.", _DORA
    ),
    "lora_dropout": Cost("learning", "Nothing is dropped at random any more, which guards less against overfitting.",
                         "Hu et al. 2021, LoRA, arXiv 2106.09685"),
    "lora_modules_to_save": Cost(
        "learning", "No module is trained in full: added tokens learn nothing of their own.", _PEFT
    ),
    "lora_target_modules": _attention_only,
    ALLOCATOR: Cost("nothing", "The same run; the allocator's segments grow instead of leaving holes.", _PYTORCH),
}  # fmt: skip
"""Every setting that `lora_explorer.memory.switches` may offer."""
