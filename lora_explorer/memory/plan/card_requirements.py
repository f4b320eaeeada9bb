"""What a recipe asks of a card besides memory."""

from __future__ import annotations

from collections.abc import Mapping

from lora_explorer.memory.cards import Card
from lora_explorer.settings import Recipe

# FlashAttention-2 and torch's own flash kernels: compute capability 8.0; 3 and 4: transformers 5's
# FLASH_ATTENTION_COMPATIBILITY_MATRIX; fp8: Axolotl's check_fp8_attention_preflight (utils/schemas/config.py).
_ATTENTION_SINCE: Mapping[str, tuple[int, int]] = {
    "flash_attention_2": (8, 0),
    "flash_attention_3": (8, 0),
    "flash_attention_4": (9, 0),
    "flash_attention_torch": (8, 0),
    "varlen": (8, 0),
    "fp8": (9, 0),
}
# check_compute_capability_w_sageattn in the same file.
_SAGE_ON = ("8.0", "8.6", "8.9", "9.0", "12.0")
# LLM.int8() multiplies on the integer units that came with Turing (bitsandbytes/cuda_specs.py, has_imma).
_INT8_SINCE = (7, 5)


# Packed rows under sdpa go through FlashAttention's kernel (axolotl/monkeypatch/attention/sdpa_varlen.py).
_LENGTHS_SINCE = (8, 0)


def why_it_cannot_run(recipe: Recipe, card: Card, *, by_length: bool = False) -> str | None:
    """A sentence where kernels that the recipe asks for do not exist for the card, whatever its memory.

    by_length: packed documents are kept apart by their lengths. bfloat16 is no reason: before compute capability 8.0 it
    is emulated.
    """
    attention = recipe.attention
    since = _ATTENTION_SINCE.get(attention)
    if since is not None and not card.reaches(since):
        return _needs(f"attn_implementation: {attention}", since, card)
    if by_length and not card.reaches(_LENGTHS_SINCE):
        return _needs("sample_packing with attn_implementation: sdpa", _LENGTHS_SINCE, card)
    if attention == "sage" and card.compute_capability not in _SAGE_ON:
        return f"Axolotl refuses attn_implementation: sage on a card of {_capability(card)}."
    if recipe.load_in_8bit and not card.reaches(_INT8_SINCE):
        return _needs("load_in_8bit", _INT8_SINCE, card)
    return None


def _needs(what: str, since: tuple[int, int], card: Card) -> str:
    return (
        f"{what} needs compute capability {since[0]}.{since[1]} or later, and this card has {card.compute_capability}."
    )


def _capability(card: Card) -> str:
    return f"compute capability {card.compute_capability}" if card.compute_capability else card.architecture
