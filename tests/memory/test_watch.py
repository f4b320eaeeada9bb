"""The watch sees storages, not tensors: each birth and each death once."""

from __future__ import annotations

import torch

from lora_explorer.memory.watch import StorageWatch


def test_a_storage_is_born_once_however_many_views_it_has() -> None:
    with StorageWatch("meta") as watch:
        tensor = torch.empty(10, 4, device="meta")
        views = [tensor.t(), tensor[2:], tensor.reshape(-1)]
        del views
    assert watch.trace().sizes_bytes == (160,)


def test_a_storage_dies_with_its_last_view() -> None:
    with StorageWatch("meta") as watch:
        tensor = torch.empty(10, device="meta")
        view = tensor[3:]
        del tensor
        assert watch.trace().events == (0,)
        del view
    assert watch.trace().events == (0, ~0)


def test_what_was_there_before_is_not_recorded() -> None:
    held = torch.empty(10, device="meta")
    watch = StorageWatch("meta")
    watch.ignore(iter([held]))
    with watch:
        held.add_(1)
        del held
    assert watch.trace().events == ()


def test_a_death_outside_the_watched_stretch_of_operators_is_seen_too() -> None:
    with StorageWatch("meta") as watch:
        kept = torch.empty(8, device="meta") + 1
    del kept
    assert sum(number < 0 for number in watch.trace().events) == 2


def test_other_devices_are_not_watched() -> None:
    with StorageWatch("meta") as watch:
        torch.empty(10)
    assert watch.trace().sizes_bytes == ()


def test_questions_about_values_get_the_answer_given() -> None:
    with StorageWatch("meta", {bool: False, int: 77, float: 0.5}):
        assert torch.empty(3, dtype=torch.int64, device="meta").max().item() == 77
        assert not torch.empty(3, dtype=torch.bool, device="meta").all()
        assert torch.empty(3, device="meta").sum().item() == 0.5


def test_what_a_forward_computation_leaves_alive_was_saved_and_the_rest_was_temporary() -> None:
    weight = torch.empty(4, 4, device="meta", requires_grad=True)
    watch = StorageWatch("meta")
    watch.ignore(iter([weight]))
    with watch:
        output = (weight * 2).exp()
        watch.settle()
    categories = watch.trace().categories
    assert categories == ("temporaries", "saved activations")
    del output


def test_softmax_backward_has_the_temporary_of_the_cuda_kernel() -> None:
    scores = torch.empty(8, 8, device="meta", requires_grad=True)
    with StorageWatch("meta") as watch:
        output = scores.softmax(-1)
        before = len(watch.trace().sizes_bytes)
        torch.autograd.grad(output, scores, torch.empty(8, 8, device="meta"))
    sizes = watch.trace().sizes_bytes[before:]
    assert sizes.count(256) == 3  # the incoming gradient, the result, and gradient x output
