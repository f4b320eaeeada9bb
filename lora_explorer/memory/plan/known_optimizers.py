"""Which optimizers can be traced: how each is made, and in which order it goes over the tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.plan.published_optimizers import PUBLISHED, TOGETHER, published
from lora_explorer.memory.watching.operator_work import moves
from lora_explorer.memory.watching.watch import declare

_LEARNING_RATE = 1e-4


class Optimizer(NamedTuple):
    """make: from parameter groups. order: how the step goes over the tensors of a group.

    one by one: what a tensor needs is gone before the next one is looked at. together: every operation runs over all
    tensors before the next operation. one loop: the loop's names hold a tensor's temporaries while those of the next
    one are made, so that only a trace of all tensors tells what lives when.
    """

    make: Callable[[list[dict[str, Any]]], Any]
    order: Literal["one by one", "together", "one loop"] = "one by one"


class _FusedAdamW:
    """torch's fused AdamW: two moments in the parameter's type and a step count on the device; no temporaries."""

    def __init__(self, groups: list[dict[str, list[nn.Parameter]]]) -> None:
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self.state: dict[nn.Parameter, dict[str, torch.Tensor]] = {}

    def step(self) -> None:
        for parameter in self._parameters:
            if parameter not in self.state:
                self.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            state = self.state[parameter]
            declare(moves("fused_adamw", parameter, parameter.grad, *state.values(), parameter, *state.values()))


def _torch(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda groups: getattr(torch.optim, name)(groups, lr=_LEARNING_RATE, **options)


def _bitsandbytes(name: str, **options: Any) -> Callable[[Any], Any]:
    def make(groups: Any) -> Any:
        import bitsandbytes as bnb

        optimizer = getattr(bnb.optim, name, None)
        if optimizer is None:
            raise MemoryUnknown(
                f"The memory of this optimizer is not known: the installed bitsandbytes has no {name}.",
                setting="optimizer",
                suggestion="adamw_torch_fused",
            )
        return optimizer(groups, lr=_LEARNING_RATE, **options)

    return make


def _adafactor(groups: Any) -> Any:
    from transformers.optimization import Adafactor

    make: Callable[..., Any] = Adafactor
    return make(groups, lr=_LEARNING_RATE, scale_parameter=False, relative_step=False)


# Paged optimizers are traced in their resident form, and what is paged is then taken out.
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw_torch": Optimizer(_torch("AdamW", foreach=True), "together"),
    "adamw_torch_fused": Optimizer(_FusedAdamW),
    "adamw_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "adamw_bnb_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "paged_adamw_8bit": Optimizer(_bitsandbytes("AdamW8bit")),
    "paged_adamw_32bit": Optimizer(_bitsandbytes("AdamW32bit")),
    "ademamix": Optimizer(_bitsandbytes("AdEMAMix")),
    "ademamix_8bit": Optimizer(_bitsandbytes("AdEMAMix8bit")),
    "paged_ademamix_32bit": Optimizer(_bitsandbytes("AdEMAMix")),
    "paged_ademamix_8bit": Optimizer(_bitsandbytes("AdEMAMix8bit")),
    "lion_32bit": Optimizer(_bitsandbytes("Lion32bit")),
    "lion_8bit": Optimizer(_bitsandbytes("Lion8bit")),
    "paged_lion_32bit": Optimizer(_bitsandbytes("Lion32bit")),
    "paged_lion_8bit": Optimizer(_bitsandbytes("Lion8bit")),
    "rmsprop": Optimizer(_torch("RMSprop", foreach=True), "together"),
    "adagrad": Optimizer(_torch("Adagrad", foreach=True), "together"),
    "sgd": Optimizer(_torch("SGD", foreach=True), "together"),
    "rmsprop_bnb": Optimizer(_bitsandbytes("RMSprop")),
    "rmsprop_bnb_32bit": Optimizer(_bitsandbytes("RMSprop32bit")),
    "rmsprop_bnb_8bit": Optimizer(_bitsandbytes("RMSprop8bit")),
    "adafactor": Optimizer(_adafactor, "one loop"),
    **{
        name: Optimizer(published(name, embedding=False), order="together" if name in TOGETHER else "one by one")
        for name in PUBLISHED
    },
}
PAGED = frozenset(name for name in OPTIMIZERS if name.startswith("paged_"))
# bitsandbytes' 8-bit optimizers as they treat a table, whose states they are told to keep in 32 bits.
WIDE_FOR_TABLES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"), _bitsandbytes("AdamW32bit")),
    **dict.fromkeys(("ademamix_8bit", "paged_ademamix_8bit"), _bitsandbytes("AdEMAMix")),
    **dict.fromkeys(("lion_8bit", "paged_lion_8bit"), _bitsandbytes("Lion32bit")),
    "rmsprop_bnb_8bit": _bitsandbytes("RMSprop32bit"),
}
