"""What a CPU does where the meta device does otherwise: its attention kernel, and its own kind of autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lora_explorer.memory.kernels.cuda import LOWER_PRECISION, CudaOperators, raised
from lora_explorer.memory.watching.operator_work import Formula, moves, number_type_of
from lora_explorer.memory.watching.work import Attends, Moved

# A CPU's autocast turns fewer operators to float32 than CUDA's: no powers, sums or norms
# (aten/autocast_mode.cpp, torch 2.13).
_FULL_PRECISION = frozenset(
    {
        F.cross_entropy, F.nll_loss, F.kl_div, F.l1_loss, F.mse_loss, F.smooth_l1_loss, F.huber_loss,
        F.binary_cross_entropy_with_logits, torch.cdist, torch.prod, Tensor.prod,
    }
)  # fmt: skip
_CAST = LOWER_PRECISION | _FULL_PRECISION | {F.scaled_dot_product_attention}


class HostOperators(CudaOperators):
    """Plays autocast and the attention kernel: any other operator has on a CPU the form that it has on meta."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._autocasts() and func in _CAST:
            args, kwargs = self._cast(func, args, kwargs)
        if func is F.scaled_dot_product_attention and torch.backends.cuda.flash_sdp_enabled():  # type: ignore[no-untyped-call]
            return _host_attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        cast: Callable[[Any], Any] = raised if func in _FULL_PRECISION else self._lowered
        return tuple(cast(arg) for arg in args), {name: cast(value) for name, value in kwargs.items()}


def _host_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001
    **options: Any,
) -> Tensor:
    """A CPU has one fused kernel, for heads of one width and without dropout (transformers/sdp_utils_cpp.cpp)."""
    if dropout_p or query.dim() != 4 or not query.shape[-1] == key.shape[-1] == value.shape[-1]:
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **options)
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        attn_mask = torch.empty_like(attn_mask, dtype=query.dtype)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output: Tensor = kernel(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=options.get("scale"))[0]
    return output


def host_formulas() -> dict[Any, Formula]:
    """What a CPU's attention kernel computes, which torch has no formula for."""
    kernels = torch.ops.aten
    return {
        kernels._scaled_dot_product_flash_attention_for_cpu.default: _attention_work,
        kernels._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_gradient_work,
    }


def _attention_work(args: Sequence[Any], kwargs: dict[str, Any], result: Sequence[Tensor]) -> list[Moved]:
    query, key, value = args[:3]
    causal = _is_causal(args, 4, kwargs)
    kernel = moves("attention", query, key, value, *result, kwargs.get("attn_mask"))
    return [_of_pairs(kernel, query, query.shape[-1] + value.shape[-1], causal=causal)]


def _attention_gradient_work(args: Sequence[Any], kwargs: dict[str, Any], result: Sequence[Tensor]) -> list[Moved]:
    query, value = args[1], args[3]
    causal = _is_causal(args, 7, kwargs)
    kernel = moves("attention_backward", *args[:6], *result, kwargs.get("attn_mask"))
    return [_of_pairs(kernel, query, 3 * query.shape[-1] + 2 * value.shape[-1], causal=causal)]


def _is_causal(args: Sequence[Any], place: int, kwargs: dict[str, Any]) -> bool:
    return bool(args[place] if len(args) > place else kwargs.get("is_causal", False))


def _of_pairs(kernel: Moved, query: Tensor, widths: int, *, causal: bool) -> Moved:
    batch, heads, tokens, _ = query.shape
    number_type = number_type_of(query.dtype)
    flops = 2 * batch * heads * widths
    return kernel._replace(flops=flops, number_type=number_type, attends=Attends(causal), tokens=tokens)
