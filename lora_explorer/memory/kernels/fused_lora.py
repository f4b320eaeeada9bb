"""Axolotl's fused LoRA kernels, as they allocate: one autograd node for projections that share an input.

Facts from axolotl 0.21 (axolotl/kernels/lora.py): base and adapter products share one output; what is saved is the
input, the adapter's matrices in the input's type, and for the MLP gate and up, over which the backward pass writes
their gradients; 4-bit weights are unpacked whenever they are used; adapter gradients are made in the adapter's type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lora_explorer.memory.watching.operator_work import moves, number_type_of
from lora_explorer.memory.watching.watch import declare

# What an adapter adds to a projection: A (rank, in), B (out, rank), the bias of B, and DoRA's magnitude (out).
TRAINED_PER_PROJECTION = 4
_HALF = (torch.float16, torch.bfloat16)


class Trained(NamedTuple):
    """The trained tensors of a projection, or their gradients; None where the adapter has none."""

    a: Tensor | None
    b: Tensor | None
    bias: Tensor | None
    magnitude: Tensor | None


class Projection:
    """A linear layer of PEFT, or a plain one, as the fused kernels read it."""

    def __init__(self, module: nn.Module) -> None:
        base: Any = getattr(module, "base_layer", module)
        self.weight: Tensor = base.weight
        self.bias: Tensor | None = base.bias
        self.state = getattr(base.weight, "quant_state", None)
        self._module = module
        self._norm: Tensor | None = None

    @property
    def trained(self) -> Trained:
        """As they are now: PEFT may replace a parameter when its type changes."""
        module: Any = self._module
        if not hasattr(module, "lora_A"):
            return Trained(None, None, None, None)
        (name,) = module.active_adapters
        a, b = module.lora_A[name], module.lora_B[name]
        vectors = getattr(module, "lora_magnitude_vector", {})
        return Trained(a.weight, b.weight, b.bias, vectors[name].weight if name in vectors else None)

    @property
    def dropout(self) -> nn.Module | None:
        """PEFT's dropout of the adapter's input, None without any."""
        module: Any = self._module
        layers = list(module.lora_dropout.values()) if hasattr(module, "lora_dropout") else []
        return layers[0] if layers and not isinstance(layers[0], nn.Identity) else None

    def unpacked(self) -> Tensor:
        """The weight (out, in); a packed one is unpacked into a new tensor, beside its block maxima in float32."""
        state = self.state
        if state is None:
            return self.weight
        full = torch.empty(tuple(state.shape), dtype=state.dtype, device=self.weight.device)
        if state.nested:
            maxima = torch.empty(state.absmax.numel(), dtype=torch.float32, device=full.device)
            declare(moves("dequantize_blockwise", state.absmax, maxima))
            declare(moves("dequantize_4bit", self.weight, maxima, full))
            del maxima
        else:
            declare(moves("dequantize_4bit", self.weight, state.absmax, full))
        return full

    def magnitude_scale(self, magnitude: Tensor, dtype: torch.dtype) -> Tensor:
        """DoRA's factor (out). The norm of the whole weight is made once a step, from the unpacked weight."""
        if self._norm is None:
            full = self.unpacked()
            self._norm = torch.empty(full.shape[0], dtype=dtype, device=full.device)
            # Its kernel makes B·A on the way, outside the tensor cores (axolotl/kernels/dora.py).
            a = self.trained.a
            flops = 2 * full.numel() * (0 if a is None else a.shape[0])
            declare(moves("dora_norm", full, a, self._norm, flops=flops, number_type="float32"))
        return magnitude.to(dtype) / self._norm


def _product(x: Tensor, layer: Projection, trained: Trained | None = None, dropped: Tensor | None = None) -> Tensor:
    """Base and adapter in one output (tokens, out)."""
    output = x @ layer.unpacked().t()
    if trained is not None and trained.a is not None and trained.b is not None:
        a, b = trained.a.t().to(x.dtype), trained.b.t().to(x.dtype)
        output.addmm_((x if dropped is None else dropped) @ a, b)
        if trained.bias is not None:
            output += trained.bias
    if trained is not None and layer.bias is not None:
        output += layer.bias
    return output


def _delta(x: Tensor, trained: Trained) -> Tensor:
    """The adapter's part alone, scaled first: (tokens, out)."""
    if trained.a is None or trained.b is None:
        raise TypeError("DoRA has both matrices")
    a, b = trained.a.t().to(x.dtype), trained.b.t().to(x.dtype)
    scaled: Tensor = (1.0 * x) @ a @ b
    return scaled if trained.bias is None else scaled + trained.bias


class _Outcome(NamedTuple):
    """A projection's output; DoRA's factor and the output before it; what lives until the forward function returns."""

    output: Tensor
    scale: Tensor | None = None
    combined: Tensor | None = None
    held: tuple[Tensor, ...] = ()


class _Kept(NamedTuple):
    """What a projection leaves for the backward pass: its matrices in the input's type, and DoRA's part."""

    a: Tensor | None
    b: Tensor | None
    bias: Tensor | None
    magnitude: Tensor | None
    scale: Tensor | None
    combined: Tensor | None


def _forward(x: Tensor, dropped: Tensor | None, layer: Projection, trained: Trained) -> _Outcome:
    if trained.magnitude is None:
        return _Outcome(_product(x, layer, trained, dropped))
    base = _product(x, layer)
    delta = _delta(x if dropped is None else dropped, trained)
    scale = layer.magnitude_scale(trained.magnitude, x.dtype)
    combined = base + delta
    output = scale.unsqueeze(0) * combined
    if layer.bias is not None:
        output = output + layer.bias
    return _Outcome(output, scale, combined, (base, delta))


def _kept(trained: Trained, outcome: _Outcome) -> _Kept:
    dtype = outcome.output.dtype
    a, b = (None if tensor is None else tensor.to(dtype) for tensor in (trained.a, trained.b))
    return _Kept(a, b, trained.bias, trained.magnitude, outcome.scale, outcome.combined)


def _through_magnitude(gradient: Tensor, kept: _Kept) -> tuple[Tensor, Tensor | None]:
    """The gradient before DoRA's factor, and the magnitude's."""
    if kept.magnitude is None or kept.scale is None or kept.combined is None:
        return gradient, None
    magnitude = (gradient * kept.combined).sum(dim=0) * kept.scale / kept.magnitude
    return gradient * kept.scale.unsqueeze(0), magnitude


def _gradient_product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Half products are made in float32 at once where the adapter is in float32."""
    in_float32 = dtype is torch.float32 and left.dtype in _HALF
    output = left.new_empty(left.shape[0], right.shape[1], dtype=torch.float32 if in_float32 else left.dtype)
    flops = 2 * left.numel() * right.shape[1]
    declare(moves("mm", left, right, output, flops=flops, number_type=number_type_of(left.dtype)))
    return output


def _adapter_gradients(
    x: Tensor, gradient: Tensor, through_b: Tensor, kept: _Kept, dtypes: tuple[torch.dtype, torch.dtype]
) -> tuple[Tensor, Tensor]:
    """Of A and B, transposed: as views, so that autograd lays them out anew when it keeps them."""
    if kept.a is None:
        raise TypeError("a projection without adapter has no gradients")
    d_a = _gradient_product(x.t(), through_b, dtypes[0])
    d_b = _gradient_product(kept.a @ x.t(), gradient, dtypes[1])
    return d_a.t(), d_b.t()


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _grouped(tensors: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [tensors[start : start + size] for start in range(0, len(tensors), size)]


def _types(trained: Trained) -> tuple[torch.dtype, torch.dtype]:
    return tuple(torch.float32 if t is None else t.dtype for t in (trained.a, trained.b))  # type: ignore[return-value]


class FusedProjections(torch.autograd.Function):
    """Projections that share an input x (batch, tokens, in); dropped: x after the adapters' dropout, or None."""

    @staticmethod
    def forward(
        ctx: Any, layers: tuple[Projection, ...], x: Tensor, dropped: Tensor | None, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        trained = [Trained(*group) for group in _grouped(tensors, TRAINED_PER_PROJECTION)]
        flat, flat_dropped = _flat(x), None if dropped is None else _flat(dropped)
        outcomes = [_forward(flat, flat_dropped, layer, own) for layer, own in zip(layers, trained, strict=True)]
        kept = [_kept(own, outcome) for own, outcome in zip(trained, outcomes, strict=True)]
        ctx.layers, ctx.dtypes, ctx.has_dropout = layers, [_types(own) for own in trained], dropped is not None
        ctx.save_for_backward(x, x if dropped is None else dropped, *(tensor for each in kept for tensor in each))
        return tuple(outcome.output.view(*x.shape[:-1], -1) for outcome in outcomes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, adapter_x, *saved = ctx.saved_tensors
        kept = [_Kept(*group) for group in _grouped(saved, len(_Kept._fields))]
        scaled = [_through_magnitude(_flat(gradient), own) for gradient, own in zip(gradients, kept, strict=True)]
        flat = _flat(adapter_x)
        through = [None if own.b is None else gradient @ own.b for (gradient, _), own in zip(scaled, kept, strict=True)]
        trained: list[Tensor | None] = []
        for (gradient, magnitude), b, own, dtypes in zip(scaled, through, kept, ctx.dtypes, strict=True):
            pair = (None, None) if b is None else _adapter_gradients(flat, gradient, b, own, dtypes)
            trained += [*pair, None if own.bias is None else gradient.sum(dim=0), magnitude]
        d_x = _input_gradient(ctx.layers, [gradient for gradient, _ in scaled])
        d_dropped = torch.zeros_like(flat) if ctx.has_dropout else None
        for b, own in zip(through, kept, strict=True):
            if b is not None and own.a is not None:
                (d_x if d_dropped is None else d_dropped).addmm_(b, own.a)
        return (None, d_x.view(x.shape), None if d_dropped is None else d_dropped.view(x.shape), *trained)


def _input_gradient(layers: Sequence[Projection], gradients: Sequence[Tensor]) -> Tensor:
    """Through the base weights, added up in one tensor (tokens, in)."""
    total: Tensor | None = None
    for layer, gradient in zip(layers, gradients, strict=True):
        weight = layer.unpacked()
        total = gradient @ weight if total is None else total.addmm_(gradient, weight)
        del weight
    if total is None:
        raise TypeError("no projections")
    return total


class FusedMlp(torch.autograd.Function):
    """A gated MLP: gate and up share x (batch, tokens, in), down takes their gated product, which is not kept."""

    @staticmethod
    def forward(
        ctx: Any, layers: tuple[Projection, ...], x: Tensor, dropped: Tensor | None, *tensors: Tensor | None
    ) -> Tensor:
        trained = [Trained(*group) for group in _grouped(tensors, TRAINED_PER_PROJECTION)]
        flat, flat_dropped = _flat(x), None if dropped is None else _flat(dropped)
        gate = _forward(flat, flat_dropped, layers[0], trained[0])
        up = _forward(flat, flat_dropped, layers[1], trained[1])
        gated = torch.empty_like(gate.output)
        declare(moves("gate", gate.output, up.output, gated))
        down = _forward(gated, None, layers[2], trained[2])
        kept = [tensor for own, part in zip(trained, (gate, up, down), strict=True) for tensor in _kept(own, part)]
        ctx.layers, ctx.dtypes, ctx.has_dropout = layers, [_types(own) for own in trained], dropped is not None
        ctx.save_for_backward(x, x if dropped is None else dropped, gate.output, up.output, *kept)
        return down.output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, adapter_x, gate, up, *saved = ctx.saved_tensors
        kept_gate, kept_up, kept_down = (_Kept(*group) for group in _grouped(saved, len(_Kept._fields)))
        flat = _flat(adapter_x)
        d_output, d_down_magnitude = _through_magnitude(_flat(gradient), kept_down)
        gated = _input_gradient(ctx.layers[2:], [d_output])
        if kept_down.a is not None and kept_down.b is not None:
            gated.addmm_(d_output @ kept_down.b, kept_down.a)
        # The kernel writes the gated product over its gradient, and both gradients over gate and up.
        declare(moves("gate_backward", gated, gate, up, gated, gate, up))
        d_gate, d_gate_magnitude = _through_magnitude(gate, kept_gate)
        d_up, d_up_magnitude = _through_magnitude(up, kept_up)
        trained: list[list[Tensor | None]] = []
        through: list[Tensor | None] = []
        for inputs, d_own, own, dtypes, magnitude in (
            (gated, d_output, kept_down, ctx.dtypes[2], d_down_magnitude),
            (flat, d_up, kept_up, ctx.dtypes[1], d_up_magnitude),
            (flat, d_gate, kept_gate, ctx.dtypes[0], d_gate_magnitude),
        ):
            b = None if own.b is None else d_own @ own.b
            pair = (None, None) if b is None else _adapter_gradients(inputs, d_own, b, own, dtypes)
            trained.append([*pair, None if own.bias is None else d_own.sum(dim=0), magnitude])
            through.append(b)
        d_x = _input_gradient([ctx.layers[1], ctx.layers[0]], [d_up, d_gate])
        d_dropped = torch.zeros_like(flat) if ctx.has_dropout else None
        for b, own in zip(through[1:], (kept_up, kept_gate), strict=True):
            if b is not None and own.a is not None:
                (d_x if d_dropped is None else d_dropped).addmm_(b, own.a)
        d_dropped = None if d_dropped is None else d_dropped.view(x.shape)
        return (None, d_x.view(x.shape), d_dropped, *trained[2], *trained[1], *trained[0])


class FusedEmbedding(torch.autograd.Function):
    """An embedding with its adapter: tokens (batch, tokens), weight (vocabulary, width), A (rank, vocabulary)."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        result = nn.functional.embedding(tokens, weight)
        after_a = nn.functional.embedding(tokens, a.t())
        result = result + 1.0 * (after_a @ b.t())
        ctx.save_for_backward(tokens, a.to(weight.dtype), b.to(weight.dtype), after_a)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        tokens, a, b, after_a = ctx.saved_tensors
        rows, flat, b = _flat(after_a).float(), _flat(gradient).float(), b.float()
        d_b = torch.empty_like(b.t())
        flops = 2 * rows.numel() * flat.shape[1]
        declare(moves("mm", rows, flat, d_b, flops=flops, number_type=number_type_of(flat.dtype)))
        d_rows = (1.0 * flat) @ b
        full = a.float()
        d_a = torch.zeros_like(full.t())
        d_a.index_add_(0, tokens.reshape(-1), d_rows)
        del rows
        return None, None, d_a.t(), d_b.t()


def fused_projections(layers: tuple[Projection, ...], x: Tensor) -> tuple[Tensor, ...]:
    """Outputs (batch, tokens, out) of projections that share x; one dropout serves all of them."""
    apply: Callable[..., tuple[Tensor, ...]] = FusedProjections.apply
    return apply(layers, x, _dropped(layers, x), *(tensor for layer in layers for tensor in layer.trained))


def fused_mlp(layers: tuple[Projection, ...], x: Tensor) -> Tensor:
    """The MLP's output; layers: gate, up and down."""
    apply: Callable[..., Tensor] = FusedMlp.apply
    return apply(layers, x, _dropped(layers[:1], x), *(tensor for layer in layers for tensor in layer.trained))


def fused_embedding(module: Any, tokens: Tensor) -> Tensor:
    """Rows of an adapted embedding in the type of its weight."""
    (name,) = module.active_adapters
    weight = module.base_layer.weight
    apply: Callable[..., Tensor] = FusedEmbedding.apply
    return apply(tokens, weight, module.lora_embedding_A[name], module.lora_embedding_B[name]).to(weight.dtype)


def _dropped(layers: Sequence[Projection], x: Tensor) -> Tensor | None:
    dropout = next((layer.dropout for layer in layers if layer.dropout is not None), None)
    return None if dropout is None else dropout(x)
