"""Optimizers whose packages are not installed: the states and temporaries that their published source makes.

Sources: torchao 0.18 (torchao/optim), torch-optimi 0.2.1, came_pytorch 0.1.3, schedulefree 1.4.1, grokadamw 0.1.2,
flashoptim 0.1.4, axolotl 0.21 (axolotl/utils/optimizers) and axolotl-contribs-mit 0.0.6 (muon, dion).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.watching.operator_work import moves
from lora_explorer.memory.watching.watch import declare
from lora_explorer.memory.watching.work import FROM_HOST, TO_HOST

States = dict[str, Tensor]

SMALLEST_QUANTIZED_PARAMS = 4096
MUON_BLOCK = 2048
FLASH_GROUP = 32


class Published(NamedTuple):
    """makes: the states of a parameter. step: what one step allocates beside them."""

    makes: Callable[[Tensor], States]
    step: Callable[[Tensor, States], None] = lambda parameter, states: None


class PublishedOptimizer:
    """Steps like an optimizer of torch: one parameter after the other, states in the first step."""

    def __init__(self, groups: list[dict[str, list[nn.Parameter]]], published: Published) -> None:
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._published = published
        self.state: dict[nn.Parameter, States] = {}

    def step(self) -> None:
        for parameter in self._parameters:
            if parameter not in self.state:
                self.state[parameter] = self._published.makes(parameter)
            states = self.state[parameter]
            self._published.step(parameter, states)
            declare(moves("optimizer step", parameter, parameter.grad, *states.values(), parameter, *states.values()))


def _like(parameter: Tensor, *names: str) -> States:
    return {name: torch.zeros_like(parameter) for name in names}


def _moments(parameter: Tensor) -> States:
    return _like(parameter, "exp_avg", "exp_avg_sq")


def _one_of_the_size(parameter: Tensor, states: States) -> None:
    root = torch.empty_like(parameter)
    del root


def _two_of_the_size(parameter: Tensor, states: States) -> None:
    first, second = torch.empty_like(parameter), torch.empty_like(parameter)
    del first, second


def _torchao(*, bits: int, block: int, table: bool = True) -> Callable[[Tensor], States]:
    """Two moments in codes of some bits, a float32 scale a block, and a table a moment; small ones as they are."""

    def makes(parameter: Tensor) -> States:
        params = parameter.numel()
        if params < SMALLEST_QUANTIZED_PARAMS or params % block:
            return _moments(parameter)
        states: States = {}
        for moment in ("exp_avg", "exp_avg_sq"):
            states[f"{moment} codes"] = parameter.new_zeros(params * bits // 8, dtype=torch.uint8)
            states[f"{moment} scales"] = parameter.new_zeros(params // block, dtype=torch.float32)
            if table:
                states[f"{moment} table"] = parameter.new_zeros(1 << bits, dtype=torch.float32)
        return states

    return makes


def _kahan(parameter: Tensor) -> States:
    """Moments, and for low precision what rounding took away (torch-optimi)."""
    low = parameter.dtype in (torch.float16, torch.bfloat16)
    return {**_moments(parameter), **(_like(parameter, "kahan_comp") if low else {})}


def _came(parameter: Tensor) -> States:
    momentum = torch.zeros_like(parameter, dtype=torch.float32)
    if parameter.dim() < 2:
        return {"exp_avg": momentum, "exp_avg_sq": torch.zeros_like(momentum)}
    rows, columns = parameter.shape[:-1], (*parameter.shape[:-2], parameter.shape[-1])
    factors = {
        f"{name}_{side}": momentum.new_zeros(shape)
        for name in ("exp_avg_sq", "exp_avg_res")
        for side, shape in (("row", rows), ("col", columns))
    }
    return {"exp_avg": momentum, **factors}


def _came_step(parameter: Tensor, states: States) -> None:
    gradient = torch.empty_like(parameter, dtype=torch.float32) if parameter.dtype is not torch.float32 else None
    update = torch.empty_like(states["exp_avg"])
    instability = (update - states["exp_avg"]) ** 2 + 1.0
    del instability
    approximation = torch.empty_like(update)
    negated = -approximation
    del gradient, negated


def _schedule_free(parameter: Tensor) -> States:
    return _like(parameter, "z", "exp_avg_sq")


def _grokadamw_step(parameter: Tensor, states: States) -> None:
    """States rest in host memory and visit the device, one parameter's at a time."""
    visiting = [torch.empty_like(parameter) for _ in range(3)]
    declare(moves(FROM_HOST, *visiting))
    declare(moves(TO_HOST, *visiting))
    amplified = parameter + visiting[2]
    del amplified, visiting


def _newton_schulz(parameter: Tensor) -> None:
    """Products in bfloat16 over the smaller side: what compiling leaves of the published function."""
    rows, columns = sorted(parameter.reshape(parameter.shape[0], -1).shape)
    x = parameter.new_empty(rows, columns, dtype=torch.bfloat16)
    for _ in range(5):
        square = x @ x.t()
        polynomial = square @ square
        x = polynomial @ x


def _muon_step(parameter: Tensor, states: States) -> None:
    if "momentum_buffer" in states:
        looked_ahead = parameter + states["momentum_buffer"]
        _newton_schulz(looked_ahead)


def _muon(parameter: Tensor) -> States:
    """Matrices only: Axolotl leaves vectors out."""
    return _like(parameter, "momentum_buffer") if parameter.dim() >= 2 else {}


def _muon_8bit(parameter: Tensor) -> States:
    if parameter.dim() < 2:
        return _moments(parameter)
    blocks = -(-parameter[0].numel() // MUON_BLOCK)
    return {
        "momentum_q8": torch.zeros_like(parameter, dtype=torch.int8),
        "momentum_scale": parameter.new_zeros(parameter.shape[0], blocks),
    }


def _muon_8bit_step(parameter: Tensor, states: States) -> None:
    if "momentum_q8" in states:
        momentum = torch.empty_like(parameter)
        _newton_schulz(momentum)


def _dion(parameter: Tensor) -> States:
    """Momentum and a right factor of full rank, which is Dion's default."""
    if parameter.dim() < 2:
        return _like(parameter, "momentum", "variance")
    rows, columns = parameter.reshape(parameter.shape[0], -1).shape
    return {**_like(parameter, "momentum"), "Q": parameter.new_zeros(columns, min(rows, columns))}


def _dion_step(parameter: Tensor, states: States) -> None:
    if "Q" in states:
        momentum = states["momentum"].reshape(parameter.shape[0], -1)
        left = momentum @ states["Q"]
        right = momentum.t() @ left
        approximation = left @ right.t()
        del approximation


def _sinkgd(parameter: Tensor) -> States:
    return {} if parameter.dim() >= 2 else _torchao(bits=8, block=256)(parameter)


def _flash(*moments: str) -> Callable[[Tensor], States]:
    """8-bit moments with a half scale for every 32 values, and one more byte of every 16-bit weight."""

    def makes(parameter: Tensor) -> States:
        states: States = {}
        for moment in moments:
            states[moment] = torch.zeros_like(parameter, dtype=torch.int8)
            states[f"{moment} scales"] = parameter.new_zeros(-(-parameter.numel() // FLASH_GROUP), dtype=torch.float16)
        if parameter.dtype is not torch.float32:
            states["error_bits"] = torch.zeros_like(parameter, dtype=torch.int8)
        return states

    return makes


PUBLISHED: dict[str, Published] = {
    "adamw_torch_8bit": Published(_torchao(bits=8, block=256)),
    "adamw_torch_4bit": Published(_torchao(bits=4, block=256)),
    "ao_adamw_fp8": Published(_torchao(bits=8, block=256, table=False)),
    "optimi_adamw": Published(_kahan, _one_of_the_size),
    "stable_adamw": Published(_kahan, _two_of_the_size),
    "adopt_adamw": Published(_moments, _one_of_the_size),
    "adamc": Published(_moments, _one_of_the_size),
    "came_pytorch": Published(_came, _came_step),
    "schedule_free_adamw": Published(_schedule_free, _one_of_the_size),
    "schedule_free_radam": Published(_schedule_free, _one_of_the_size),
    "schedule_free_sgd": Published(lambda parameter: _like(parameter, "z")),
    "grokadamw": Published(lambda parameter: {}, _grokadamw_step),
    "muon": Published(_muon, _muon_step),
    "muon_8bit": Published(_muon_8bit, _muon_8bit_step),
    "dion": Published(_dion, _dion_step),
    "sinkgd": Published(_sinkgd, _one_of_the_size),
    "flash_adam": Published(_flash("exp_avg", "exp_avg_sq")),
    "flash_adamw": Published(_flash("exp_avg", "exp_avg_sq")),
    "flash_lion": Published(_flash("exp_avg")),
    "flash_sgd": Published(_flash()),
    "flash_sgdw": Published(_flash()),
}
# What these give embeddings, the output head and saved modules instead of their own update.
INSTEAD_FOR_EMBEDDINGS: dict[str, Published] = {
    "muon": Published(_moments, _two_of_the_size),
    "muon_8bit": Published(_moments),
    "dion": Published(_moments),
    "sinkgd": Published(_torchao(bits=8, block=256)),
}
# Their operations run over all tensors of a group before the next one.
TOGETHER = frozenset({"adopt_adamw", "adamc", "schedule_free_adamw", "schedule_free_radam"})

# Why nothing is known of others, as the end of a sentence.
_LAYERWISE = "it updates weights during the backward pass, where their gradients do not stay"
_PROJECTED = "its states depend on the modules it projects, which are no setting here"
_NAME_ONLY = "Axolotl 0.21 knows its name but makes no such optimizer"
UNKNOWN: dict[str, str] = {
    "polora": "its package is on no registry",
    "scao": "its package is on no registry",
    "lomo": _LAYERWISE,
    "adalomo": _LAYERWISE,
    **dict.fromkeys(("ao_adamw_4bit", "ao_adamw_8bit"), _NAME_ONLY),
    **{
        f"{method}{layerwise}": _LAYERWISE if layerwise else _PROJECTED
        for method in ("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "apollo_adamw")
        for layerwise in ("", "_layerwise")
    },
    "q_galore_adamw8bit": _PROJECTED,
}
INSTEAD_OF_UNKNOWN = {"ao_adamw_8bit": "adamw_torch_8bit", "ao_adamw_4bit": "adamw_torch_4bit"}


def published(name: str, *, embedding: bool) -> Callable[[Any], PublishedOptimizer]:
    """A maker of the optimizer for parameters that are, or are not, embeddings, output heads or saved modules."""
    chosen = INSTEAD_FOR_EMBEDDINGS.get(name, PUBLISHED[name]) if embedding else PUBLISHED[name]
    return lambda groups: PublishedOptimizer(groups, chosen)


def unknown_optimizer(name: str) -> MemoryUnknown:
    """The refusal of an optimizer that cannot be traced, with one to take instead."""
    reason = UNKNOWN.get(name, "its states cannot be traced here")
    suggestion = INSTEAD_OF_UNKNOWN.get(name, "adamw_torch_fused")
    sentence = f"The memory of the optimizer {name} is not known: {reason}."
    return MemoryUnknown(sentence, setting="optimizer", suggestion=suggestion)
