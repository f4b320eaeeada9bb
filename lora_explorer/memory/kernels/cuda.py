"""What CUDA does where the meta device does otherwise: fused kernels, and autocast, which meta tensors never enter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lora_explorer.memory.kernels.attention import fused_attention
from lora_explorer.memory.kernels.experts import looped_product
from lora_explorer.memory.kernels.routing import ROUTED, routed
from lora_explorer.memory.watching.operator_work import moves
from lora_explorer.memory.watching.watch import StorageWatch, declare

# Operators that CUDA autocast runs in the lower precision, those whose inputs it turns to float32, and those that it
# only asks for a float32 result, which their kernels make from half inputs as they read them
# (aten/autocast_mode.h, the lists of torch 2.13).
LOWER_PRECISION = frozenset(
    {
        F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, torch.einsum, torch.conv1d,
        torch.prelu, F.prelu, torch.matmul, torch.mm, torch.mv, torch.bmm, torch.addmm, torch.addmv, torch.addr,
        torch.baddbmm, torch.addbmm, torch.chain_matmul, torch.linalg.multi_dot, torch.linalg.vecdot,
        Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.mv, Tensor.bmm, Tensor.addmm,
        Tensor.baddbmm, Tensor.addbmm, Tensor.addmv,
    }
)  # fmt: skip
FULL_PRECISION = frozenset(
    {
        torch.exp, torch.expm1, torch.log, torch.log10, torch.log2, torch.log1p, torch.reciprocal, torch.rsqrt,
        torch.pow, torch.logsumexp, torch.tan, torch.sinh, torch.cosh, torch.dist, torch.cdist, torch.layer_norm,
        torch.rms_norm, torch.group_norm, F.softplus, F.layer_norm, F.rms_norm, F.group_norm, F.cosine_similarity,
        F.cross_entropy, F.nll_loss, F.kl_div, F.l1_loss, F.mse_loss, F.smooth_l1_loss, F.huber_loss,
        F.binary_cross_entropy_with_logits, F.normalize,
        Tensor.exp, Tensor.expm1, Tensor.log, Tensor.log10, Tensor.log2, Tensor.log1p, Tensor.reciprocal,
        Tensor.rsqrt, Tensor.pow, Tensor.__pow__, Tensor.__rpow__, Tensor.logsumexp,
    }
)  # fmt: skip
FULL_PRECISION_RESULT = frozenset(
    {
        torch.softmax, torch.log_softmax, F.softmax, F.log_softmax, Tensor.softmax, Tensor.log_softmax,
        torch.sum, torch.prod, torch.cumsum, torch.cumprod, torch.norm, torch.linalg.vector_norm,
        Tensor.sum, Tensor.prod, Tensor.cumsum, Tensor.cumprod, Tensor.norm,
    }
)  # fmt: skip
_HALF = (torch.float16, torch.bfloat16)
_SOFTMAX = frozenset({F.softmax, torch.softmax, Tensor.softmax})


class CudaOperators(TorchFunctionMode):
    """Makes a step on the meta device allocate what it would allocate on a CUDA device.

    autocast: the lower precision of `torch.autocast`, or None without it. The cast copies of trainable float32
    weights are kept until the forward pass, or the recomputation of a layer, is over, as autocast's cache does.
    """

    def __init__(self, watch: StorageWatch, autocast: torch.dtype | None, *, flash_kernels: bool) -> None:
        super().__init__()
        self._watch = watch
        self._flash_kernels = flash_kernels
        self._autocast = autocast
        self._casts: dict[int, Tensor] = {}
        self._suspended = 0

    def forget_casts(self) -> None:
        """Autocast's cache is dropped when its scope ends."""
        self._casts.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _INTERCEPTED:
            if self._autocasts():
                args, kwargs = self._cast(func, args, kwargs)
            if func is F.scaled_dot_product_attention:
                return fused_attention(self._flash_kernels, *args, **kwargs)
            if func in ROUTED:
                return routed(self._watch, func, args, kwargs)
            if func is torch._grouped_mm and not self._flash_kernels:
                return looped_product(*args, **kwargs)
            special = _CUDA_FORMS.get(func)
            if special is not None:
                return special(func, *args, **kwargs)
        return func(*args, **kwargs)

    @contextmanager
    def meta_autocast(self) -> Iterator[None]:
        """While it is open, `torch.autocast("meta", ...)` steers the autocast played here instead of failing."""
        original: Any = torch.autocast

        def autocast(device_type: str, *args: Any, enabled: bool = True, **kwargs: Any) -> Any:
            if device_type != "meta":
                return original(device_type, *args, enabled=enabled, **kwargs)
            return nullcontext() if enabled else self._suspension()

        torch.autocast = autocast  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            torch.autocast = original  # type: ignore[misc]

    @contextmanager
    def _suspension(self) -> Iterator[None]:
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1

    def _autocasts(self) -> bool:
        computes = self._watch.phase == "forward" or self._watch.recomputing
        return self._autocast is not None and computes and not self._suspended

    def _cast(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if func in LOWER_PRECISION or func is F.scaled_dot_product_attention:
            cast: Callable[[Any], Any] = self._lowered
        elif func in FULL_PRECISION:
            cast = raised
        elif func in FULL_PRECISION_RESULT and _asks_for_no_type(args, kwargs):
            return args, {**kwargs, "dtype": torch.float32}
        else:
            return args, kwargs
        return tuple(cast(arg) for arg in args), {name: cast(value) for name, value in kwargs.items()}

    def _lowered(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self._lowered(item) for item in value)
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype is self._autocast:
            return value
        if value.dtype is torch.float32 and value.is_leaf and value.requires_grad and not value._is_view():
            key = id(value)
            if key not in self._casts:
                self._casts[key] = value.to(self._autocast)
            return self._casts[key]
        return value.to(self._autocast)


def _asks_for_no_type(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a half tensor goes in and nothing is said of the type that comes out."""
    value = args[0] if args else kwargs.get("input")
    return kwargs.get("dtype") is None and isinstance(value, Tensor) and value.dtype in _HALF


def raised(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in _HALF:
        return value.float()
    return value


def _softmax(func: Any, scores: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    # CUDA reads half scores directly when float32 is asked for; bfloat16 is converted first (aten/native/SoftMax.cpp).
    dtype = kwargs.get("dtype")
    if scores.dtype is torch.float16 and dtype is torch.float32:
        axis = kwargs.get("dim", args[0] if args else -1)
        apply: Callable[..., Tensor] = _HalfToFloatSoftmax.apply
        return apply(scores, axis)
    output: Tensor = func(scores, *args, **kwargs)
    return output


class _HalfToFloatSoftmax(torch.autograd.Function):
    """softmax of half scores into float32: no float32 copy of the scores, and a half gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, axis: int) -> Tensor:
        output = torch.empty_like(scores, dtype=torch.float32)
        ctx.save_for_backward(output)
        declare(moves("softmax", scores, output))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        result = torch.empty_like(output, dtype=torch.float16)
        product = gradient * output
        declare(moves("softmax_backward", product, output, result))
        del product
        return result, None


def _dropout(func: Any, value: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: FBT001 - torch's own signature
    if not training or p == 0.0:
        output: Tensor = func(value, p, training, inplace)
        return output
    apply: Callable[..., Tensor] = _FusedDropout.apply
    return apply(value)


class _FusedDropout(torch.autograd.Function):
    """CUDA's native_dropout: the output and one byte of mask an element."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        mask = torch.empty_like(value, dtype=torch.bool)
        ctx.save_for_backward(mask)
        output = torch.empty_like(value)
        declare(moves("dropout", value, mask, output))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (mask,) = ctx.saved_tensors
        result = torch.empty_like(gradient)
        declare(moves("dropout_backward", gradient, mask, result))
        return result


def _rms_norm(func: Any, value: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    # CUDA's fused kernel wants both in one type; otherwise it runs operator by operator, as meta does
    # (aten/native/layer_norm.cpp).
    if weight is not None and weight.dtype is not value.dtype:
        output: Tensor = func(value, shape, weight, eps)
        return output
    apply: Callable[..., Tensor] = _FusedRmsNorm.apply
    return apply(value, weight, len(shape))


class _FusedRmsNorm(torch.autograd.Function):
    """_fused_rms_norm: keeps its input, the weight and one float32 for each row."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor | None, axes: int) -> Tensor:
        scale = value.new_empty(value.shape[: value.dim() - axes], dtype=torch.float32)
        ctx.save_for_backward(value, weight, scale)
        output = torch.empty_like(value)
        declare(moves("rms_norm", value, weight, scale, output))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        value, weight, scale = ctx.saved_tensors
        d_value, d_weight = torch.empty_like(value), torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        declare(moves("rms_norm_backward", gradient, value, weight, scale, d_value, d_weight))
        return d_value, d_weight, None


_CUDA_FORMS: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys(_SOFTMAX, _softmax),
    F.dropout: _dropout,
    torch.dropout: _dropout,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
}
_INTERCEPTED = (
    LOWER_PRECISION
    | FULL_PRECISION
    | FULL_PRECISION_RESULT
    | ROUTED.keys()
    | _CUDA_FORMS.keys()
    | {F.scaled_dot_product_attention, torch._grouped_mm}
)
