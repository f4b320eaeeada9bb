"""Loss kernels: what each of them allocates between the last hidden state and the gradient that enters the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Literal["plain", "shifted", "chunked", "liger", "liger fused", "cut"]
IGNORED = -100
CHUNKS = 8


class DeferredHead(nn.Module):
    """Stands where the output head was and hands hidden states through, for losses that apply the head themselves."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    @property
    def weight(self) -> Tensor:
        """(vocabulary, hidden)."""
        weight: Tensor = self.head.weight  # type: ignore[assignment]
        return weight

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class LigerFusedLoss(torch.autograd.Function):
    """Head and cross entropy in chunks of tokens; the gradients are made in the forward pass.

    hidden: (tokens, width). A chunk has as many tokens as keep its logits about as large as `hidden`
    (liger_kernel.ops.fused_linear_cross_entropy).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        tokens, width = hidden.shape
        vocabulary = weight.shape[0]
        parts = -(-vocabulary // width)
        chunk = 1 << (-(-tokens // parts) - 1).bit_length()
        d_hidden = torch.zeros_like(hidden)
        d_weight = torch.zeros_like(weight) if weight.requires_grad else None
        loss = hidden.new_zeros(tokens, dtype=torch.float32)
        for start in range(0, tokens, chunk):
            size = min(chunk, tokens - start)
            logits = hidden.new_empty(size, vocabulary)
            d_chunk = hidden.new_empty(size, width)
            if d_weight is not None:
                product = torch.empty_like(d_weight)
                del product
            del logits, d_chunk
        ctx.save_for_backward(d_hidden, d_weight)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden, d_weight


class CutLoss(torch.autograd.Function):
    """Cut cross entropy: logits live only inside the kernel; one float32 log-sum-exp and one logit a token."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        log_sum = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        target_logit = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        ctx.save_for_backward(hidden, weight, log_sum)
        return (log_sum - target_logit).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        hidden, weight, _ = ctx.saved_tensors
        return torch.zeros_like(hidden), torch.zeros_like(weight) if ctx.needs_input_grad[1] else None


class LigerLoss(torch.autograd.Function):
    """Cross entropy that writes its gradient over the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        loss = logits.new_zeros(logits.shape[0], dtype=torch.float32)
        ctx.save_for_backward(logits.detach())
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        result: Tensor = logits
        return result


def _fused_linear_loss(function: type[torch.autograd.Function], head: DeferredHead, logits: Tensor) -> Tensor:
    hidden = logits.reshape(-1, logits.shape[-1])
    apply: Callable[..., Tensor] = function.apply
    return apply(hidden, head.weight)


def _shifted(labels: Tensor) -> Tensor:
    return F.pad(labels, (0, 1), value=IGNORED)[..., 1:].contiguous()


def _chunked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    targets = _shifted(labels).chunk(CHUNKS, dim=1)
    total = logits.new_zeros((), dtype=torch.float32)
    for chunk, target in zip(logits.chunk(CHUNKS, dim=1), targets, strict=True):
        rows = chunk.reshape(-1, chunk.shape[-1]).float()
        total = total + F.cross_entropy(rows, target.reshape(-1), ignore_index=IGNORED, reduction="sum")
    return total


def _shifted_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """transformers before 4.50 cut the last logits off, which copies all others."""
    logits = logits.float()
    kept = logits[..., :-1, :].contiguous()
    targets = labels[..., 1:].contiguous().view(-1)
    return F.cross_entropy(kept.view(-1, kept.shape[-1]), targets, ignore_index=IGNORED)


def _liger_loss(logits: Tensor, labels: Tensor) -> Tensor:
    apply: Callable[..., Tensor] = LigerLoss.apply
    return apply(logits.reshape(-1, logits.shape[-1]))


def install(model: Any, loss: Loss) -> None:
    """Make a causal language model compute its loss with this kernel; `plain` is transformers' own."""
    if loss in ("liger fused", "cut"):
        head = DeferredHead(model.get_output_embeddings())
        function = LigerFusedLoss if loss == "liger fused" else CutLoss
        model.set_output_embeddings(head)
        model.loss_function = lambda logits, labels, *_, **__: _fused_linear_loss(function, head, logits)
    elif loss == "chunked":
        model.loss_function = lambda logits, labels, *_, **__: _chunked_loss(logits, labels)
    elif loss == "shifted":
        model.loss_function = lambda logits, labels, *_, **__: _shifted_loss(logits, labels)
    elif loss == "liger":
        model.loss_function = lambda logits, labels, *_, **__: _liger_loss(logits, labels)
