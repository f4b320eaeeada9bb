"""bitsandbytes on the meta device: the real modules, with quantized weights of the right shapes and no values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.plan.step import Quantization
from lora_explorer.memory.tracing.layers import configs_of
from lora_explorer.memory.watching.operator_work import Formula, moved_size, moves, number_type_of
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.memory.watching.work import Moved

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# bitsandbytes 0.50 unpacks a 4-bit weight whole for more rows than these; its fused kernel takes fewer, of most shapes
# (bitsandbytes/backends/cuda/ops.py: gemm_4bit).
FUSED_PRODUCT_ROWS = 320
# bitsandbytes.functional.quantize_4bit: the block maxima are themselves quantized in blocks of 256, 8 bits each.
STATISTICS_BLOCK = 256

# What Axolotl leaves out by architecture (axolotl/utils/nf4.py: bnb_4bit_skip_modules; axolotl/loaders/model.py).
EXEMPT_FROM_4_BIT: dict[str, tuple[str, ...]] = {
    "falcon_h1": ("out_proj",),
    "nemotron_labs_diffusion_vlm": ("encoder.vision_tower", "encoder.multi_modal_projector", "diffusion_head"),
}
EXEMPT_FROM_8_BIT: dict[str, tuple[str, ...]] = {"falcon_h1": ("out_proj",), "jamba": ("mamba",)}


def quantize(model: PreTrainedModel, quantization: Quantization, compute_dtype: torch.dtype) -> None:
    """Replace the linear layers that transformers would quantize for Axolotl.

    Raises MemoryUnknown where the installed bitsandbytes cannot do it.
    """
    _look_for_kernels(quantization)
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear

    eight_bit = quantization.kind == "int8"
    configured: Callable[..., BitsAndBytesConfig] = BitsAndBytesConfig
    config = configured(
        load_in_8bit=eight_bit,
        load_in_4bit=not eight_bit,
        bnb_4bit_quant_type="nf4" if eight_bit else quantization.kind,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=compute_dtype,
    )
    replace_with_bnb_linear(model, _exempt(model, quantization), config)
    for module in model.modules():
        _fill(module, quantization, compute_dtype)
    if quantization.experts:
        _quantize_experts(model, quantization, compute_dtype)
    marker = "is_loaded_in_8bit" if eight_bit else "is_loaded_in_4bit"
    setattr(model, marker, True)
    for config in configs_of(model):
        # Some models ask for it before they reach into a weight (transformers/quantizers/base.py).
        config._is_quantized = True


def _look_for_kernels(quantization: Quantization) -> None:
    eight_bit = quantization.kind == "int8"
    layers = "Linear8bitLt" if eight_bit else "Linear4bit"
    needed = {"bitsandbytes.nn": layers}
    if quantization.experts:
        needed["bitsandbytes.nn.parametrize"] = "Bnb4bitParametrization"
    for module, name in needed.items():
        try:
            found = hasattr(import_module(module), name)
        except ImportError:
            found = False
        if not found:
            setting = "load_in_8bit" if eight_bit else "load_in_4bit"
            raise MemoryUnknown(
                f"The memory of this quantization is not known: the installed bitsandbytes has no {name}.",
                setting="quantize_moe_experts" if name == "Bnb4bitParametrization" else setting,
                suggestion="false",
            )


def _quantize_experts(model: PreTrainedModel, quantization: Quantization, dtype: torch.dtype) -> None:
    """Fused expert weights, unpacked whenever they are read, as Axolotl's quantize_moe_experts does."""
    from bitsandbytes.nn.parametrize import _register_parametrization_hooks

    quantized = _eight_bit_expert if quantization.kind == "int8" else _four_bit_expert
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() >= 3:
                packed, unpacking = quantized(parameter.shape, quantization, dtype)
                setattr(module, name, packed)
                parametrize.register_parametrization(module, name, unpacking, unsafe=True)
                _register_parametrization_hooks(module, name)


def _four_bit_expert(
    shape: torch.Size, quantization: Quantization, dtype: torch.dtype
) -> tuple[nn.Parameter, nn.Module]:
    from bitsandbytes.nn.parametrize import Bnb4bitParametrization

    state = _four_bit_state(shape, quantization, dtype)
    packed = nn.Parameter(_packed(shape), requires_grad=False)
    # What the packed tensor was made from is read when loading is replayed.
    packed.quant_state = state  # type: ignore[attr-defined]
    return packed, Bnb4bitParametrization(state)


def _eight_bit_expert(
    shape: torch.Size, quantization: Quantization, dtype: torch.dtype
) -> tuple[nn.Parameter, nn.Module]:
    weight = nn.Parameter(torch.empty(shape, dtype=torch.int8, device="meta"), requires_grad=False)
    scales = _meta(shape.numel() // shape[-1])
    weight.SCB = scales  # type: ignore[attr-defined]
    return weight, _EightBitExperts(scales)


class _EightBitExperts(nn.Module):
    """Expert weights times the float32 maximum of their row, which makes them float32 (axolotl moe_quant)."""

    def __init__(self, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("row_stats", scales)
        self._scales = scales

    @torch.no_grad()
    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.reshape(-1, weight.shape[-1])
        return (rows * self._scales.view(-1, 1) * (1 / 127)).reshape(weight.shape)


def _packed(shape: torch.Size) -> Tensor:
    """Two values a byte."""
    return torch.empty(((shape.numel() + 1) // 2, 1), dtype=torch.uint8, device="meta")


def _exempt(model: PreTrainedModel, quantization: Quantization) -> list[str]:
    """Names of what is not quantized. A list of its own also frees the output head, which is then quantized."""
    from transformers.quantizers.base import HfQuantizer

    named = quantization.exempt
    if named is None:
        named = (EXEMPT_FROM_8_BIT if quantization.kind == "int8" else EXEMPT_FROM_4_BIT).get(model.config.model_type)
    choose: Callable[..., list[str]] = HfQuantizer.get_modules_to_not_convert
    # A head that is tied has no weight of its own to quantize.
    tied = [path.removesuffix(".weight") for path in model.all_tied_weights_keys]
    return tied + choose(model, None if named is None else list(named), model._keep_in_fp32_modules)


def _fill(module: nn.Module, quantization: Quantization, compute_dtype: torch.dtype) -> None:
    import bitsandbytes as bnb

    if isinstance(module, bnb.nn.Linear4bit):
        shape = torch.Size((module.out_features, module.in_features))
        state = _four_bit_state(shape, quantization, compute_dtype)
        module.weight = _packed_parameter()(
            _packed(shape),
            requires_grad=False,
            quant_state=state,
            blocksize=quantization.block_params,
            compress_statistics=quantization.double_quant,
            quant_type=quantization.kind,
            module=module,
            bnb_quantized=True,
        )
        module.quant_state = state
    elif isinstance(module, bnb.nn.Linear8bitLt):
        weight = torch.empty(module.out_features, module.in_features, dtype=torch.int8, device="meta")
        module.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        module.weight.CB = weight
        module.weight.SCB = torch.empty(module.out_features, dtype=torch.float32, device="meta")
    if isinstance(module, (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)) and module.bias is not None:
        bias = torch.empty(module.out_features, dtype=compute_dtype, device="meta")
        module.bias = nn.Parameter(bias, requires_grad=False)


@cache
def _packed_parameter() -> Any:
    """bitsandbytes' parameter, made so that it can be copied on meta, as PEFT does where DoRA reads a base weight."""
    import bitsandbytes as bnb

    def copied(self: Any, memo: dict[int, object]) -> Any:
        attributes = vars(self)
        names = ("blocksize", "compress_statistics", "quant_type", "quant_storage", "bnb_quantized", "quant_state")
        return type(self)(torch.empty_like(self.data), **{name: attributes[name] for name in names})

    # Under bitsandbytes' own name, by which PEFT knows it.
    return type("Params4bit", (bnb.nn.Params4bit,), {"__deepcopy__": copied})


def _four_bit_state(shape: torch.Size, quantization: Quantization, dtype: torch.dtype) -> Any:
    from bitsandbytes.functional import QuantState

    blocks = -(-shape.numel() // quantization.block_params)
    code = _meta(16)
    if not quantization.double_quant:
        return QuantState(_meta(blocks), shape, code, quantization.block_params, quantization.kind, dtype)
    statistics = QuantState(
        absmax=_meta(-(-blocks // STATISTICS_BLOCK)),
        code=_meta(256),
        blocksize=STATISTICS_BLOCK,
        dtype=torch.float32,
    )
    absmax = torch.empty(blocks, dtype=torch.uint8, device="meta")
    return QuantState(
        absmax=absmax,
        shape=shape,
        code=code,
        blocksize=quantization.block_params,
        quant_type=quantization.kind,
        dtype=dtype,
        offset=_meta(),
        state2=statistics,
    )


def quantization_tensors(module: nn.Module) -> list[Tensor]:
    """The tensors of a module that neither its parameters nor its buffers show."""
    state = getattr(module, "quant_state", None)
    if state is not None:
        nested = state.state2
        held = [state.absmax, state.code, state.offset]
        return [tensor for tensor in [*held, *((nested.absmax, nested.code) if nested else ())] if tensor is not None]
    scale = getattr(getattr(module, "weight", None), "SCB", None)
    return [] if scale is None else [scale]


@contextmanager
def without_cast_warnings() -> Iterator[None]:
    """bitsandbytes warns in every 8-bit product that it converts its input; in a trace that tells nobody anything."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def four_bit_forms() -> dict[Any, Callable[..., Any]]:
    """What stands for bitsandbytes' 4-bit product, whose temporaries lie inside one operator."""
    import bitsandbytes  # noqa: F401 - registers the operators

    return {torch.ops.bitsandbytes.gemm_4bit.default: _four_bit_product}


def _four_bit_product(  # noqa: PLR0913 - bitsandbytes' own signature
    watch: StorageWatch,
    values: Tensor,
    packed: Tensor,
    shape: torch.Size,
    absmax: Tensor,
    block_params: int,
    kind: str,
    bias: Tensor | None = None,
    absmax_8bit: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    unpacked: list[Tensor] = []
    if values.numel() // values.shape[-1] > FUSED_PRODUCT_ROWS:
        if absmax_8bit is not None:
            unpacked += [torch.empty_like(absmax_8bit, dtype=torch.float32) for _ in range(2)]
        unpacked.append(values.new_empty(shape))
    output = values.new_empty(*values.shape[:-1], shape[0])
    for tensor in (*unpacked, output):
        watch.born(tensor)
    return output


def four_bit_formulas() -> dict[Any, Formula]:
    """What bitsandbytes' 4-bit product computes and moves: a large one unpacks the weight first."""
    import bitsandbytes  # noqa: F401 - registers the operators

    return {torch.ops.bitsandbytes.gemm_4bit.default: _four_bit_work}


def _four_bit_work(args: Sequence[Any], kwargs: dict[str, Any], output: Tensor) -> list[Moved]:
    values, packed, shape, absmax = args[:4]
    absmax_8bit = kwargs.get("absmax_8bit")
    maxima = absmax if absmax_8bit is None else absmax_8bit
    flops = 2 * values.numel() * shape[0]
    dtype = number_type_of(values.dtype)
    if values.numel() // values.shape[-1] <= FUSED_PRODUCT_ROWS:
        return [moves("gemm_4bit", values, packed, maxima, output, flops=flops, number_type=dtype)]
    kernels: list[Moved] = []
    if absmax_8bit is not None:
        unpacked_bytes = absmax_8bit.numel() * torch.float32.itemsize
        kernels = [
            Moved("dequantize_blockwise", [moved_size(absmax_8bit), unpacked_bytes]),
            Moved("add", [unpacked_bytes, unpacked_bytes]),
        ]
    weight_bytes = shape[0] * shape[1] * values.element_size()
    maxima_bytes = maxima.numel() * torch.float32.itemsize
    return [
        *kernels,
        Moved("dequantize_4bit", [moved_size(packed), maxima_bytes, weight_bytes]),
        Moved("mm", [moved_size(values), weight_bytes, moved_size(output)], flops, dtype),
    ]


def eight_bit_forms() -> dict[Any, Callable[..., Any]]:
    """What stands for bitsandbytes' operators whose results depend on values: a batch without outlier columns."""
    import bitsandbytes  # noqa: F401 - registers the operators

    operators = torch.ops.bitsandbytes
    return {
        operators.int8_vectorwise_quant.default: _vectorwise_quant,
        operators.int8_mixed_scaled_mm.default: _mixed_scaled_mm,
    }


def eight_bit_formulas() -> dict[Any, Formula]:
    """What bitsandbytes' 8-bit operators compute and move, without outlier columns."""
    import bitsandbytes  # noqa: F401 - registers the operators

    operators = torch.ops.bitsandbytes
    return {
        operators.int8_vectorwise_quant.default: _vectorwise_work,
        operators.int8_mixed_scaled_mm.default: _scaled_mm_work,
    }


def _vectorwise_work(args: Sequence[Any], kwargs: dict[str, Any], result: Sequence[Tensor | None]) -> list[Moved]:
    """The input is read once more, and its absolute values are written and read, where outliers are looked for."""
    values = args[0]
    looked_for = [] if result[2] is None else [moves("abs", values, values), moves("any", values)]
    return [*looked_for, moves("int8_vectorwise_quant", values, *result[:2])]


def _scaled_mm_work(args: Sequence[Any], kwargs: dict[str, Any], result: Sequence[Tensor]) -> list[Moved]:
    """A product in 8 bits, and its int32 result scaled into the type of the input."""
    quantized, weight = args[1], args[2]
    output = result[0]
    whole_bytes = output.numel() * torch.int32.itemsize
    sizes = [moved_size(quantized), moved_size(weight), whole_bytes]
    return [
        Moved("int8_mm", sizes, 2 * quantized.numel() * weight.shape[0], "int8"),
        Moved("int8_mm_dequant", [whole_bytes, moved_size(output)]),
    ]


def _vectorwise_quant(
    watch: StorageWatch, values: Tensor, threshold: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    rows = values.numel() // values.shape[-1]
    quantized = torch.empty_like(values, dtype=torch.int8)
    statistics = values.new_empty(rows, dtype=torch.float32)
    if threshold == 0.0:
        return quantized, statistics, None
    # Outliers are looked for among all absolute values (bitsandbytes/backends/cuda/ops.py).
    watch.transient(values.numel() * values.element_size())
    return quantized, statistics, values.new_empty(0, dtype=torch.int64)


def _mixed_scaled_mm(
    watch: StorageWatch, values: Tensor, quantized: Tensor, weight: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    output = values.new_empty(*quantized.shape[:-1], weight.shape[0])
    # The product is made in int32 first (bitsandbytes/backends/cuda/ops.py).
    watch.transient(output.numel() * torch.int32.itemsize)
    return output, values.new_empty(0)


def _meta(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="meta")
