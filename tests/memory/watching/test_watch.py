"""The watch sees storages, not tensors: each birth and each death once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lora_explorer.memory.watching.watch import StorageWatch


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


def test_deaths_of_what_left_for_the_host_are_known() -> None:
    with StorageWatch("meta") as watch:
        held, used = torch.empty(8, device="meta"), torch.empty(8, device="meta")
        used_twice = [used]
        watch.leaves(1, window=1)
        with watch.letting_go(1):
            del held
        with watch.letting_go(2):
            del used
        watch.all_let_go()
        used_twice.clear()
    trace = watch.trace()
    assert [(each.kind, each.position, each.number) for each in trace.departures] == [
        ("leaves", 2, 1),
        ("died", 2, 1),
        ("all let go", 3, 0),
    ]
    assert trace.events == (0, 1, ~0, ~1)


def test_layers_that_are_left_out_are_counted_on_the_way_forward() -> None:
    watch = StorageWatch("meta")
    for layer in (0, 1, 5, 6, 9):
        watch.mark("layer", layer)
    watch.phase = "backward"
    for layer in (9, 6, 0):
        watch.mark("layer", layer)
    assert watch.layers_left_out == 3 + 2


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


def test_gradients_of_many_tokens_are_summed_in_float32_beside_those_of_the_table() -> None:
    table = torch.empty(6000, 8, dtype=torch.bfloat16, device="meta", requires_grad=True)
    inner = []
    for tokens in (3072, 4096):
        with StorageWatch("meta") as watch:
            output = torch.nn.functional.embedding(torch.empty(tokens, dtype=torch.int64, device="meta"), table)
            before = len(watch.trace().sizes_bytes)
            torch.autograd.grad(output, table, torch.empty_like(output))
        inner.append(sum(watch.trace().sizes_bytes[before + 1 :]) - 6000 * 8 * 2)
    assert inner[0] == 0
    assert inner[1] > (4096 + 409) * 8 * 4


def backward_sizes(make: Callable[[torch.Tensor], torch.Tensor]) -> list[int]:
    """Sizes of what is born when the gradient of a (4, 8) float32 tensor is made from what comes back."""
    value = torch.empty(4, 8, device="meta", requires_grad=True)
    with StorageWatch("meta") as watch:
        output = make(value)
        watch.phase = "backward"
        before = len(watch.trace().sizes_bytes)
        torch.autograd.grad(output, value, torch.empty_like(output))
    return list(watch.trace().sizes_bytes[before + 1 :])


def test_gradients_of_indexing_are_written_into_fresh_zeros() -> None:
    places = torch.empty(6, dtype=torch.int64, device="meta")
    # The zeros, and the tables of the sort.
    assert backward_sizes(lambda value: value[places]) == [4 * 8 * 4, 6 * 8 * 6]
    assert backward_sizes(lambda value: value.topk(2, dim=-1).values) == [4 * 8 * 4]
    assert backward_sizes(lambda value: value.gather(1, places.view(2, 3))) == [4 * 8 * 4]


def test_convolutions_copy_what_is_not_contiguous() -> None:
    kernel = torch.empty(8, 1, 3, device="meta")
    for value, copied in ((torch.empty(1, 8, 5, device="meta"), 0), (torch.empty(1, 5, 8, device="meta").mT, 160)):
        watch = StorageWatch("meta")
        watch.ignore(iter([value, kernel]))
        with watch:
            torch.nn.functional.conv1d(value, kernel, padding=1, groups=8)
        assert sum(watch.trace().sizes_bytes) == 160 + copied
