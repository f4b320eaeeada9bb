"""Questions about routing are answered as if tokens were shared out equally among the experts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lora_explorer.memory.kernels.cuda import CudaOperators
from lora_explorer.memory.kernels.routing import routing_forms
from lora_explorer.memory.watching.watch import StorageWatch

TOKENS, EXPERTS, CHOSEN, WIDTH = 24, 4, 2, 8


def one_expert_after_the_other(hidden: Tensor, logits: Tensor, columns: int) -> list[tuple[int, ...]]:
    """Shapes of what each expert gets, the way models without grouped products ask for it."""
    chosen = logits.topk(CHOSEN, dim=-1).indices
    mask = F.one_hot(chosen, num_classes=columns).permute(2, 1, 0)
    shapes = []
    for expert in torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero():
        _, token = torch.where(mask[expert[0]])
        shapes.append(tuple(hidden[token].shape))
    return shapes


@pytest.mark.parametrize("columns", [EXPERTS, EXPERTS + 1])
def test_each_expert_gets_its_share_of_the_tokens(columns: int) -> None:
    watch = StorageWatch("meta", forms=routing_forms())
    hidden, logits = torch.empty(TOKENS, WIDTH, device="meta"), torch.empty(TOKENS, EXPERTS, device="meta")
    with CudaOperators(watch, None, flash_kernels=True), watch:
        shapes = one_expert_after_the_other(hidden, logits, columns)
    assert shapes == [(TOKENS * CHOSEN // EXPERTS, WIDTH)] * EXPERTS


def test_a_list_of_how_many_tokens_each_gets_splits_them_equally() -> None:
    watch = StorageWatch("meta", forms=routing_forms())
    with CudaOperators(watch, None, flash_kernels=True), watch:
        sizes = torch.empty(EXPERTS, dtype=torch.int64, device="meta").tolist()
        parts = torch.empty(TOKENS + 1, WIDTH, device="meta").split(sizes, dim=0)
    assert [len(part) for part in parts] == [7, 6, 6, 6]


def test_a_mask_nobody_knows_anything_about_is_not_guessed() -> None:
    watch = StorageWatch("meta", forms=routing_forms())
    with watch, pytest.raises(NotImplementedError, match="depends on the values"):
        torch.empty(4, TOKENS, dtype=torch.bool, device="meta").nonzero()
