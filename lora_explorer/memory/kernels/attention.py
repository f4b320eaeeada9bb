"""Attention as its kernels allocate: what is kept for backward, and what a kernel needs only while it runs.

A fused kernel keeps query, key, value, output and one float32 log-sum-exp per head and token; the scores are never
stored. Backward makes the three gradients and float32 room to accumulate them (aten/native/transformers/cuda).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lora_explorer.memory.watching.operator_work import moves, number_type_of
from lora_explorer.memory.watching.watch import declare
from lora_explorer.memory.watching.work import Attends

# Names known to transformers; one with "flash" in it is taken for a kernel to download.
VARLEN = "lora_explorer_varlen"
BLOCKWISE = "lora_explorer_blockwise"
REPEATED = "lora_explorer_repeated"
PACKED = "lora_explorer_packed"

FLASH_TILE_TOKENS = 128
EFFICIENT_TILE_TOKENS = 32
LARGEST_FLASH_HEAD = 256
_SAME_SCALE = 1e-9
# Architectures for which Axolotl does not replace the scaled dot product (axolotl/model_support).
_NOT_BY_LENGTH = frozenset({"glm5_next", "glm5_next_text", "qwen4_exp", "qwen4_exp_text"})


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _declare_forward(attends: Attends, query: Tensor, value: Tensor, *others: Tensor | None) -> None:
    """Two products for each pair: query and key, score and value."""
    _declare("attention", attends, query.shape[-1] + value.shape[-1], query, value, *others)


def _declare_backward(attends: Attends, query: Tensor, value: Tensor, *others: Tensor | None) -> None:
    """Five products for each pair: the score again, then the gradients of value, probability, query and key."""
    _declare("attention_backward", attends, 3 * query.shape[-1] + 2 * value.shape[-1], query, value, *others)


def _declare(name: str, attends: Attends, widths: int, query: Tensor, *others: Tensor | None) -> None:
    batch, heads, tokens, _ = query.shape
    # A kernel that keeps documents apart has no float32 form: transformers casts what it is given
    # (integrations/flash_attention.py).
    number_type = "bfloat16" if attends.keeps_apart and query.dtype is torch.float32 else number_type_of(query.dtype)
    kernel = moves(name, query, *others, flops=2 * batch * heads * widths, number_type=number_type)
    declare(kernel._replace(attends=attends, tokens=tokens))


class FlashAttention(torch.autograd.Function):
    """query: (batch, heads, tokens, width); key, value: (batch, key heads, tokens, width), key heads dividing heads."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, attends: Attends) -> Tensor:
        batch, heads, tokens, _ = query.shape
        output = query.new_empty(batch, tokens, heads, value.shape[-1]).transpose(1, 2)
        log_sum = query.new_empty(batch, heads, tokens, dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, log_sum)
        ctx.attends = attends
        _declare_forward(attends, query, value, key, output, log_sum)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, output, log_sum = ctx.saved_tensors
        batch, heads, tokens, width = query.shape
        rounded = _round_up(tokens, FLASH_TILE_TOKENS)
        d_query, d_key, d_value = _like_tokens_first(query), _like_tokens_first(key), _like_tokens_first(value)
        softmax_sum = query.new_empty(batch, heads, rounded, dtype=torch.float32)
        d_query_sum = query.new_empty(batch, heads, rounded, _round_up(width, 32), dtype=torch.float32)
        if key.shape[1] != heads:
            # Gradients of shared keys and values are made for every head, then summed over each group.
            per_head = [query.new_empty(batch, tokens, heads, width) for _ in (key, value)]
            for made, summed in zip(per_head, (d_key, d_value), strict=True):
                declare(moves("sum_of_heads", made, made, summed))
            del made, summed, per_head
        moved = (key, output, log_sum, gradient, softmax_sum, d_query_sum, d_query_sum, d_query, d_key, d_value)
        _declare_backward(ctx.attends, query, value, *moved)
        del moved, softmax_sum, d_query_sum
        return d_query, d_key, d_value, None


class EfficientAttention(torch.autograd.Function):
    """The memory-efficient kernel: any float type, a bias, value heads of their own width.

    query: (batch, heads, tokens, width); key, value: all heads; bias: broadcastable to (batch, heads, tokens, tokens).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, attends: Attends) -> Tensor:
        batch, heads, tokens, _ = query.shape
        output = query.new_empty(batch, tokens, heads, value.shape[-1]).transpose(1, 2)
        log_sum = query.new_empty(batch, heads, _round_up(tokens, EFFICIENT_TILE_TOKENS), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, bias, output, log_sum)
        ctx.attends = attends
        _declare_forward(attends, query, value, key, bias, output, log_sum)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, bias, output, log_sum = ctx.saved_tensors
        batch, heads, tokens, _ = query.shape
        d_query, d_key, d_value = _like_tokens_first(query), _like_tokens_first(key), _like_tokens_first(value)
        delta = query.new_empty(batch, heads, tokens, dtype=torch.float32)
        workspace = None
        if query.dtype is not torch.float32:
            # Half gradients of the query are accumulated in float32.
            workspace = query.new_empty(batch, heads, _round_up(tokens, 64), query.shape[-1], dtype=torch.float32)
        moved = (key, bias, output, log_sum, gradient, delta, workspace, workspace, d_query, d_key, d_value)
        _declare_backward(ctx.attends, query, value, *moved)
        del moved, delta, workspace
        return d_query, d_key, d_value, None, None


def fused_attention(  # noqa: PLR0913 - torch's own signature
    has_flash: bool,  # noqa: FBT001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001
    scale: float | None = None,
    enable_gqa: bool = False,  # noqa: FBT001
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention` with the allocations of the kernel that CUDA chooses.

    has_flash: the device runs FlashAttention-2 kernels (compute capability 8.0 and later).
    """
    width = query.shape[-1]
    flash = has_flash and attn_mask is None and query.dtype in (torch.float16, torch.bfloat16)
    if flash and width == key.shape[-1] == value.shape[-1] <= LARGEST_FLASH_HEAD and query.dim() == 4:
        return _flash(query, key, value, Attends(is_causal))
    emulated = not has_flash and query.dtype is torch.bfloat16
    if emulated or query.dim() != 4 or key.shape[-3] != query.shape[-3]:
        # No other kernel of torch 2.13 takes fewer key heads than query heads, or bfloat16 below compute capability
        # 8.0; what is left is the composite form, which stores the scores in float32
        # (aten/native/transformers/cuda/sdp_utils.cpp).
        math = torch.ops.aten._scaled_dot_product_attention_math
        output: Tensor = math(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)[0]
        return output
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        # A boolean mask is turned into an additive one in the query's type.
        attn_mask = torch.empty_like(attn_mask, dtype=query.dtype)
    return _efficient(query, key, value, attn_mask, Attends(is_causal))


@contextmanager
def keys_repeated() -> Iterator[None]:
    """While it is open, transformers repeats grouped keys and values to all heads before SDPA, whatever the mask."""
    from transformers.integrations import sdpa_attention

    original = sdpa_attention.use_gqa_in_sdpa
    sdpa_attention.use_gqa_in_sdpa = lambda *_: False
    try:
        yield
    finally:
        sdpa_attention.use_gqa_in_sdpa = original


def _attends(module: torch.nn.Module, options: Mapping[str, Any]) -> Attends:
    """As transformers tells a kernel that needs no mask (integrations/flash_attention.py)."""
    causal, window = options.get("is_causal"), options.get("sliding_window")
    return Attends(bool(getattr(module, "is_causal", True) if causal is None else causal), window, keeps_apart=True)


def varlen_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """FlashAttention-2 as transformers calls it; returns (batch, tokens, heads, value width)."""
    attends = _attends(module, options)
    padding = key.shape[-1] - value.shape[-1]
    if padding > 0:
        # FlashAttention-2 has one width for keys and values: narrower values are padded, the output is cut.
        output = _flash(query, key, torch.nn.functional.pad(value, [0, padding]), attends)
        return output.transpose(1, 2)[..., : value.shape[-1]], None
    return _flash(query, key, value, attends).transpose(1, 2), None


def repeated_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """xFormers and SageAttention as Axolotl calls them: grouped keys and values are repeated to all heads first."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, 1) for tensor in (key, value))
    return varlen_attention(module, query, key, value, attention_mask, **options)


def packed_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """PyTorch's scaled dot product over packed rows as Axolotl replaces it (monkeypatch/attention/sdpa_varlen.py).

    All rows are laid end to end, keys and values for every head, and FlashAttention is told where documents begin. What
    that kernel cannot do goes through the scaled dot product with a mask made anew in every layer.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, heads, tokens, width = query.shape
    positions, scaling = options.get("position_ids"), options.get("scaling")
    usual_scale = scaling is None or abs(scaling - width**-0.5) < _SAME_SCALE
    if positions is None or options.get("dropout") or not usual_scale:
        mask = None if positions is None else _mask_of_documents(positions)
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, 1) for tensor in (key, value))
    query, key, value = (
        tensor.transpose(1, 2).reshape(1, batch * tokens, heads, width).transpose(1, 2)
        for tensor in (query, key, value)
    )
    output = _flash(query, key, value, _attends(module, options))
    return output.transpose(1, 2).reshape(batch, tokens, heads, width), None


def knows_lengths(config: Any) -> bool:
    """Whether Axolotl tells attention of an architecture where packed documents begin (loaders/patch_manager.py).

    Not where heads are too wide for FlashAttention, values are narrower than keys, or a window slides.
    """
    width = getattr(config, "head_dim", None)
    if not width and getattr(config, "hidden_size", None) and getattr(config, "num_attention_heads", None):
        width = config.hidden_size // config.num_attention_heads
    parts = (getattr(config, "qk_nope_head_dim", None) or 0, getattr(config, "qk_rope_head_dim", None) or 0)
    keys, values = getattr(config, "qk_head_dim", None) or sum(parts), getattr(config, "v_head_dim", None)
    kinds = getattr(config, "layer_types", None) or ("sliding_attention",)
    slides = bool(getattr(config, "sliding_window", None)) and "sliding_attention" in kinds
    uneven = keys and values and keys != values
    return not (config.model_type in _NOT_BY_LENGTH or (width or 0) > LARGEST_FLASH_HEAD or uneven or slides)


def _mask_of_documents(positions: Tensor) -> Tensor:
    """True where a token attends to another, (batch, 1, tokens, tokens). positions: (batch, tokens)."""
    documents = (positions == 0).cumsum(-1)
    places = torch.arange(positions.shape[-1], device=positions.device)
    together = documents[:, :, None] == documents[:, None, :]
    return (together & (places[:, None] >= places)[None])[:, None]


def blockwise_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """FlexAttention, compiled: grouped keys and values are read as they are; output and log-sum-exp are kept."""
    output = _efficient(query, key, value, None, _attends(module, options))
    return output.transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def register() -> None:
    """Make the functions known to transformers under their own names; doing it twice changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    functions = {
        VARLEN: varlen_attention,
        BLOCKWISE: blockwise_attention,
        REPEATED: repeated_attention,
        PACKED: packed_attention,
    }
    for name, function in functions.items():
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, _no_mask)


def _flash(query: Tensor, key: Tensor, value: Tensor, attends: Attends) -> Tensor:
    apply: Callable[..., Tensor] = FlashAttention.apply
    return apply(query, key, value, attends)


def _efficient(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, attends: Attends) -> Tensor:
    apply: Callable[..., Tensor] = EfficientAttention.apply
    return apply(query, key, value, bias, attends)


def _like_tokens_first(tensor: Tensor) -> Tensor:
    """An empty tensor of the same shape, laid out (batch, tokens, heads, width) as the kernels do."""
    return torch.empty_like(tensor.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
