"""Rules about the attention kernel, and about rows with several samples in them."""

from __future__ import annotations

from lora_explorer.findings import Fix
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG, ATTENTIONS
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule

_SHORT_NAMES = {"flash": "flash_attention_2", "flex": "flex_attention", "sdp": "sdpa"}
# Backends whose mask keeps the samples of a packed row apart.
_KEEP_APART = (
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flash_attention_torch",
    "flex_attention",
    "xformers",
    "sage",
    "sdpa",
    "eager",
    "kernels-community/flash-attn2",
    "kernels-community/flash-attn3",
    "kernels-community/sage-attention",
)


def _written(recipe: Recipe) -> str | None:
    """The kernel that the file asks for, without the revision of a kernel from the Hub."""
    kernel = recipe.attn_implementation or next((ATTENTION_OF_FLAG[flag] for flag in _flags(recipe)), None)
    return kernel and kernel.split(":")[0].split("@")[0].strip()


def _flags(recipe: Recipe) -> tuple[str, ...]:
    return tuple(flag for flag in ATTENTION_OF_FLAG if getattr(recipe, flag))


def _known_kernel(recipe: Recipe) -> Fix:
    return (("attn_implementation", _SHORT_NAMES.get(recipe.attn_implementation or "", "sdpa")),)


ATTENTION_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: (
            recipe.attn_implementation is not None
            and recipe.attn_implementation not in ATTENTIONS
            and "/" not in recipe.attn_implementation
            and not (recipe.attn_implementation == "" and _flags(recipe))
        ),
        "attn_implementation {attn_implementation} is not one that Axolotl knows.",
        "sdpa",
        "rejects",
        fix=_known_kernel,
    ),
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: recipe.attn_implementation and _flags(recipe),
        "attn_implementation cannot be combined with the old attention flags; remove the flags.",
        outcome="rejects",
        fix=lambda recipe: tuple((flag, None) for flag in _flags(recipe)),
    ),
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: recipe.attn_implementation == "flash_attention_torch",
        "attn_implementation flash_attention_torch needs a newer transformers than Axolotl 0.21 comes with.",
        "sdpa",
        "rejects",
        fix=(("attn_implementation", "sdpa"),),
    ),
    Rule(
        "attn_implementation",
        "error",
        lambda recipe: recipe.attn_implementation == "varlen",
        "attn_implementation varlen is for diffusion models only.",
        "flash_attention_2",
        "fails at load",
        "Axolotl looks at the model's type once its config.json is read, and ends there.",
        (("attn_implementation", "flash_attention_2"),),
    ),
    Rule(
        "sample_packing",
        "warning",
        lambda recipe: recipe.sample_packing and _written(recipe) not in _KEEP_APART,
        "sample_packing without an attention kernel that keeps the samples of a row apart: they see each other.",
        "attn_implementation: flash_attention_2",
        "warns",
        fix=lambda recipe: () if _flags(recipe) else (("attn_implementation", "flash_attention_2"),),
    ),
    Rule(
        "pad_to_sequence_len",
        "note",
        lambda recipe: recipe.sample_packing and recipe.pad_to_sequence_len is False,
        "With sample_packing, pad_to_sequence_len: true is advised.",
        "true",
        "warns",
        "Rows of one length leave the allocator the same blocks in every step.",
        (("pad_to_sequence_len", True),),
    ),
    Rule(
        "attn_implementation",
        "warning",
        lambda recipe: _written(recipe) == "sage" and not (recipe.sample_packing or recipe.pad_to_sequence_len),
        "With sage attention on rows of different lengths the loss has been seen to explode.",
        "pad_to_sequence_len: true",
        "warns",
        fix=(("pad_to_sequence_len", True),),
    ),
    Rule(
        "attn_implementation",
        "warning",
        lambda recipe: _written(recipe) == "sage" and not recipe.adapter,
        "With sage attention and no adapter the loss has been seen to drop to 0.",
        "sdpa",
        "warns",
    ),
)
