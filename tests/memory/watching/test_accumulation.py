"""Sums of gradients that autograd makes in place while nobody watches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_explorer.memory.watching.watch import StorageWatch

ROW_BYTES = 1024 * 4


def storages_of_backward(device: str, uses: int, watch_gradient: Any = None) -> int:
    """How many storages of a row's size are born in the backward pass of a value used several times."""
    watch = StorageWatch(device)
    value = torch.ones(1024, device=device, requires_grad=True)
    with watch:
        shared = value * 2
        if watch_gradient is not None:
            shared.register_hook(watch_gradient)
        loss = torch.stack([(shared * float(n)).sum() for n in range(1, uses + 1)]).sum()
        watch.phase = "backward"
        before = len(watch.trace().sizes_bytes)
        torch.autograd.backward(loss)
    return watch.trace().sizes_bytes[before:].count(ROW_BYTES)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_each_further_use_of_a_value_makes_a_gradient_but_no_sum(device: str) -> None:
    assert storages_of_backward(device, 3) - storages_of_backward(device, 2) == 1


def test_values_of_gradients_stay_what_they_are() -> None:
    value = torch.full((4,), 3.0, requires_grad=True)
    watch = StorageWatch("cpu")
    with watch:
        twice = value * 2
        loss = (twice * 5 + twice * 7 + twice).sum()
        watch.phase = "backward"
        torch.autograd.backward(loss)
    assert value.grad is not None
    assert value.grad.tolist() == [26.0] * 4


class Held(torch.autograd.Function):
    """Hands its gradient on and keeps it, as code outside the engine may."""

    kept: list[Tensor]

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        made = gradient * 3
        Held.kept.append(made)
        return made


def test_a_gradient_that_somebody_holds_is_not_written_into() -> None:
    Held.kept = []
    value = torch.ones(4, requires_grad=True)
    watch = StorageWatch("cpu")
    with watch:
        twice = value * 2
        loss = (Held.apply(twice) + Held.apply(twice)).sum()
        watch.phase = "backward"
        torch.autograd.backward(loss)
    assert value.grad is not None
    assert value.grad.tolist() == [12.0] * 4
    assert [kept.tolist() for kept in Held.kept] == [[3.0] * 4, [3.0] * 4]


def test_sums_that_user_code_makes_in_its_own_backward_keep_their_operands() -> None:
    class Summing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            first, second = gradient * 2, gradient * 3
            result = first + second
            assert first.tolist() == [2.0] * 4
            return result

    value = torch.ones(4, requires_grad=True)
    watch = StorageWatch("cpu")
    with watch:
        loss = Summing.apply(value).sum()
        watch.phase = "backward"
        torch.autograd.backward(loss)
    assert value.grad is not None
    assert value.grad.tolist() == [5.0] * 4


def test_a_sum_with_a_factor_is_not_one_of_the_engines() -> None:
    class Weighing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return torch.add(gradient * 2, gradient * 3, alpha=10)

    value = torch.ones(4, requires_grad=True)
    watch = StorageWatch("cpu")
    with watch:
        loss = Weighing.apply(value).sum()
        watch.phase = "backward"
        torch.autograd.backward(loss)
    assert value.grad is not None
    assert value.grad.tolist() == [32.0] * 4
