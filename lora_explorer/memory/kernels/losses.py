"""Loss kernels: what each of them allocates between the last hidden state and the gradient that enters the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lora_explorer.memory.watching.operator_work import moves, number_type_of
from lora_explorer.memory.watching.watch import declare
from lora_explorer.memory.watching.work import Moved

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

    hidden: (tokens, width). A chunk has as many tokens as keep its logits about as large as `hidden`; one buffer of
    logits serves all chunks where hidden states and weight have one type, and their gradient lies over them
    (liger-kernel 0.8, ops/fused_linear_cross_entropy.py).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        tokens, width = hidden.shape
        vocabulary = weight.shape[0]
        parts = -(-vocabulary // width)
        chunk = min(tokens, 1 << (-(-tokens // parts) - 1).bit_length())
        d_hidden = torch.zeros_like(hidden)
        d_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        loss = hidden.new_zeros(tokens, dtype=torch.float32)
        if hidden.dtype is weight.dtype:
            buffer = hidden.new_empty(chunk, vocabulary)
            for start in range(0, tokens, chunk):
                _declare_chunk(hidden[start : start + chunk], weight, buffer, d_weight)
            del buffer
        else:
            for rows in torch.split(hidden, chunk):
                _converted_chunk(rows, weight, d_weight)
        ctx.save_for_backward(d_hidden, d_weight)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden, d_weight


def _declare_chunk(rows: Tensor, weight: Tensor, buffer: Tensor, d_weight: Tensor | None) -> None:
    """The products of a chunk, and the kernel between them that writes the gradient over the logits."""
    logits = buffer[: rows.shape[0]]
    product: dict[str, Any] = {"flops": 2 * logits.numel() * rows.shape[1], "number_type": number_type_of(rows.dtype)}
    declare(moves("mm", rows, weight, logits, **product))
    declare(moves("liger_cross_entropy", logits, logits))
    declare(moves("mm", logits, weight, rows, **product))
    if d_weight is not None:
        declare(moves("addmm", logits, rows, d_weight, d_weight, **product))


def _converted_chunk(rows: Tensor, weight: Tensor, d_weight: Tensor | None) -> None:
    """A chunk where types differ: logits of its own, and the product for the weight's gradient in float32."""
    logits = rows @ weight.t()
    declare(moves("liger_cross_entropy", logits, logits))
    d_rows = logits @ weight
    del d_rows
    if d_weight is not None:
        product = (logits.t() @ rows).float()
        del product


class CutLoss(torch.autograd.Function):
    """Cut cross entropy: logits live only inside the kernel.

    Kept: hidden states, a float32 log-sum-exp a token, and the mean logit of every word of the vocabulary, by which
    the backward pass sorts it. Locks are one integer for each token and word (cut-cross-entropy 25.1, cce.py).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        log_sum = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        mean_logit = hidden.new_empty(weight.shape[0], dtype=torch.float32)
        target_logit = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        ctx.save_for_backward(hidden, weight, log_sum, mean_logit)
        declare(_cut_products("cut_cross_entropy", 1, hidden, weight, log_sum, mean_logit, target_logit))
        return target_logit.add_(log_sum).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        hidden, weight, log_sum, mean_logit = ctx.saved_tensors
        order = torch.argsort(mean_logit).to(torch.int32)
        d_hidden = torch.zeros_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=hidden.dtype) if ctx.needs_input_grad[1] else None
        locks = [hidden.new_zeros(count, dtype=torch.int32) for count in (hidden.shape[0], weight.shape[0])]
        written = (d_hidden, d_hidden, d_weight, d_weight)
        products = 2 if d_weight is None else 3
        declare(_cut_products("cut_cross_entropy_backward", products, hidden, weight, log_sum, *written))
        del written
        del order, locks
        return d_hidden, None if d_weight is None else d_weight.to(weight.dtype)


def _cut_products(name: str, products: int, hidden: Tensor, weight: Tensor, *others: Tensor | None) -> Moved:
    """So many products of every hidden state with every word. Words that the backward pass finds to be improbable it
    leaves out, how many depends on values; none are left out here."""
    flops = products * 2 * hidden.numel() * weight.shape[0]
    return moves(name, hidden, weight, *others, flops=flops, number_type=number_type_of(hidden.dtype))


class LigerLoss(torch.autograd.Function):
    """Cross entropy that writes its gradient over the logits (tokens, vocabulary)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        loss = logits.new_zeros(logits.shape[0])
        declare(moves("liger_cross_entropy", logits, logits, loss))
        ctx.save_for_backward(logits.detach())
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        result: Tensor = logits
        return result


class CompiledLoss(torch.autograd.Function):
    """Conversion to float32 and cross entropy compiled into one kernel: two float32 numbers a token are kept."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        largest = logits.new_empty(logits.shape[0], dtype=torch.float32)
        log_sum = torch.empty_like(largest)
        ctx.save_for_backward(logits, largest, log_sum)
        declare(moves("compiled_cross_entropy", logits, largest, log_sum))
        return torch.empty((), dtype=torch.float32, device=logits.device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        logits, largest, log_sum = ctx.saved_tensors
        result = torch.empty_like(logits)
        declare(moves("compiled_cross_entropy_backward", logits, largest, log_sum, result))
        return result


def _fused_linear_loss(function: type[torch.autograd.Function], head: DeferredHead, logits: Tensor) -> Tensor:
    hidden = logits.reshape(-1, logits.shape[-1])
    apply: Callable[..., Tensor] = function.apply
    return apply(hidden, head.weight)


def _shifted(labels: Tensor) -> Tensor:
    return F.pad(labels, (0, 1), value=IGNORED)[..., 1:].contiguous()


def _chunked_loss(chunks: int, logits: Tensor, labels: Tensor) -> Tensor:
    """Axolotl's chunks of tokens, each through a compiled loss (axolotl/monkeypatch/loss/chunked.py)."""
    apply: Callable[..., Tensor] = CompiledLoss.apply
    targets = _shifted(labels)
    total: Tensor | None = None
    for chunk in logits.chunk(chunks, dim=1):
        loss = apply(chunk.reshape(-1, chunk.shape[-1]))
        total = loss if total is None else total + loss
    del targets
    return logits.new_zeros(()) if total is None else total


def _shifted_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """transformers before 4.50 cut the last logits off, which copies all others."""
    logits = logits.float()
    kept = logits[..., :-1, :].contiguous()
    targets = labels[..., 1:].contiguous().view(-1)
    return F.cross_entropy(kept.view(-1, kept.shape[-1]), targets, ignore_index=IGNORED)


def _liger_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """In place of torch's cross entropy, after transformers has made its float32 copy."""
    apply: Callable[..., Tensor] = LigerLoss.apply
    targets = _shifted(labels)
    loss = apply(logits.float().reshape(-1, logits.shape[-1]))
    del targets
    return loss


def install(model: Any, loss: Loss, chunks: int = CHUNKS) -> None:
    """Make a causal language model compute its loss with this kernel; `plain` is transformers' own.

    chunks: into how many chunked cross entropy cuts the tokens.
    """
    if loss in ("liger fused", "cut"):
        head = DeferredHead(model.get_output_embeddings())
        function = LigerFusedLoss if loss == "liger fused" else CutLoss
        model.set_output_embeddings(head)
        model.loss_function = lambda logits, labels, *_, **__: _fused_linear_loss(function, head, logits)
    elif loss == "chunked":
        model.loss_function = lambda logits, labels, *_, **__: _chunked_loss(chunks, logits, labels)
    elif loss == "shifted":
        model.loss_function = lambda logits, labels, *_, **__: _shifted_loss(logits, labels)
    elif loss == "liger":
        model.loss_function = lambda logits, labels, *_, **__: _liger_loss(logits, labels)
