"""A step shared by several GPUs, and what Axolotl's keys say of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from peft.utils.other import fsdp_auto_wrap_policy
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, _flat_param
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import AutoConfig, AutoModelForCausalLM

from lora_explorer.memory.plan.parallel import (
    BUCKET_BYTES,
    FIRST_BUCKET_BYTES,
    Parallelism,
    Share,
    share_of,
)
from lora_explorer.memory.plan.parallel_plan import plan_parallel
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything

from ..models import LLAMA, Lora, skeleton_of

STEP = Step(2, 64, checkpointing="non-reentrant", clips_gradients=False)
WIDE = {**LLAMA, "hidden_size": 256, "intermediate_size": 1024, "head_dim": 64}


def whole(adapter: Adapter, step: Step = STEP, config: dict[str, Any] = LLAMA) -> Share:
    run = trace_run(skeleton_of(config), step, adapter)
    return Share(run.residents, run.trained, run.trace)


def resident_bytes(share: Share, *categories: str) -> int:
    return sum(resident.size_bytes for resident in share.residents if resident.category in categories)


def trained_params(share: Share) -> int:
    return sum(torch.Size(tensor.shape).numel() for tensor in share.trained)


def left_bytes(share: Share, category: str) -> int:
    """What of a category is alive when the backward pass is over."""
    trace = share.trace
    dead = {~number for number in trace.events if number < 0}
    numbers = (number for number, named in enumerate(trace.categories) if named == category and number not in dead)
    return sum(trace.sizes_bytes[number] for number in numbers)


def gathered(share: Share) -> Iterator[list[int]]:
    """Sizes of the units that are gathered, after each change."""
    held: dict[int, int] = {}
    for number in share.trace.events:
        storage = number if number >= 0 else ~number
        if share.trace.categories[storage] == "base weights":
            if number >= 0:
                held[storage] = share.trace.sizes_bytes[storage]
            else:
                del held[storage]
            yield list(held.values())


def test_one_gpu_shares_with_nobody() -> None:
    alone = whole(Lora())
    assert share_of(alone, None) is alone
    assert share_of(alone, Parallelism(1, "full")) is alone


@pytest.mark.parametrize("adapter", [Lora(r=64), Everything()], ids=["LoRA", "full fine-tuning"])
def test_buckets_hold_every_gradient_once(adapter: Adapter) -> None:
    alone = whole(adapter, config=WIDE)
    buckets = [r.size_bytes for r in share_of(alone, Parallelism(2)).residents[len(alone.residents) :]]
    assert sum(buckets) == sum(torch.Size(t.shape).numel() * t.dtype.itemsize for t in alone.trained)
    assert buckets[0] >= FIRST_BUCKET_BYTES
    assert all(size >= BUCKET_BYTES for size in buckets[1:-1])


def test_without_sharding_the_step_itself_stays_as_it_is() -> None:
    alone = whole(Lora())
    assert share_of(alone, Parallelism(4)).trace is alone.trace


@pytest.mark.parametrize("n_gpus", [2, 3, 8])
def test_every_gpu_keeps_its_share_of_what_can_be_divided(n_gpus: int) -> None:
    step = replace(STEP, quantization=Quantization("nf4"))
    alone = whole(Lora(), step)
    share = share_of(alone, Parallelism(n_gpus, "full"))
    for category in ("base weights", "adapter"):
        all_shares = n_gpus * resident_bytes(share, category)
        assert resident_bytes(alone, category) <= all_shares <= resident_bytes(alone, category) * 1.05
    assert resident_bytes(share, "quantization state") == resident_bytes(alone, "quantization state")
    assert trained_params(alone) <= n_gpus * trained_params(share) < trained_params(alone) + n_gpus * len(alone.trained)


@pytest.mark.parametrize("adapter", [Lora(), Everything()], ids=["LoRA", "full fine-tuning"])
def test_at_most_the_root_and_two_layers_are_gathered_and_none_is_left(adapter: Adapter) -> None:
    moments = list(gathered(share_of(whole(adapter), Parallelism(2, "full"))))
    assert max(len(units) for units in moments) == 3
    assert moments[-1] == []


@pytest.mark.parametrize("adapter", [Lora(), Everything()], ids=["LoRA", "full fine-tuning"])
def test_only_shares_of_gradients_are_left_after_the_backward_pass(adapter: Adapter) -> None:
    alone = whole(adapter)
    share = share_of(alone, Parallelism(2, "full"))
    assert left_bytes(share, "gradients") == pytest.approx(left_bytes(alone, "gradients") / 2, rel=0.01)


def test_float32_shards_are_twice_as_wide_as_what_they_are_gathered_to() -> None:
    alone = whole(Everything())
    narrow, wide = (share_of(alone, Parallelism(2, "full", float32_shards=wide)) for wide in (False, True))
    assert {tensor.dtype for tensor in wide.trained} == {torch.float32}
    assert resident_bytes(wide, "base weights") == pytest.approx(2 * resident_bytes(narrow, "base weights"), rel=0.01)
    assert max(map(sum, gathered(wide))) == max(map(sum, gathered(narrow)))


def alive_when_the_last_layer_comes_back(share: Share) -> int:
    trace = share.trace
    position = next(start for start, segment in trace.marks if segment.phase == "backward" and segment.layer == 0)
    return sum(
        trace.sizes_bytes[number] if number >= 0 else -trace.sizes_bytes[~number] for number in trace.events[:position]
    )


def test_held_layer_inputs_stay_with_their_gradients_until_the_backward_pass_is_over() -> None:
    layers = 12
    alone = whole(Lora(), replace(STEP, checkpointing="reentrant"), {**LLAMA, "num_hidden_layers": layers})
    free, held = (share_of(alone, Parallelism(2, "full", holds_layer_inputs=holds)) for holds in (False, True))
    hidden_bytes = STEP.tokens * LLAMA["hidden_size"] * 2
    more = alive_when_the_last_layer_comes_back(held) - alive_when_the_last_layer_comes_back(free)
    prefetched = min(size for units in gathered(free) for size in units)
    assert more + prefetched == pytest.approx((2 * (layers - 1) - 1) * hidden_bytes, abs=hidden_bytes)
    assert left_bytes(held, "saved activations") == left_bytes(free, "saved activations")


@pytest.mark.parametrize(
    ("keys", "sharding", "said"),
    [
        ({}, "none", "DistributedDataParallel"),
        ({"fsdp": ["full_shard"]}, "none", "under fsdp_config alone"),
        ({"fsdp_config": "x"}, "none", "under fsdp_config alone"),
        ({"fsdp_config": {"offload_params": True}}, "full", "asks for offloading"),
        ({"fsdp_config": {"reshard_after_forward": False}}, "full", "until backward"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, "full", "counted as FSDP's"),
        ({"deepspeed": {"zero_optimization": {"stage": 1}}}, "none", "more than it needs"),
        ({"deepspeed": "deepspeed_configs/zero3_bf16_cpuoffload_all.json"}, "full", "asks for offloading"),
        ({"deepspeed": "zero9.json"}, "none", "cannot be read"),
        ({"deepspeed": ["x"]}, "none", "cannot be read"),
        ({"fsdp_config": {"reshard_after_forward": True}, "fsdp_version": 2}, "full", "one layer at a time"),
        ({"deepspeed": "deepspeed_configs/zero3_bf16.json"}, "full", "counted as FSDP's"),
        ({"deepspeed": "deepspeed_configs/zero2.json"}, "none", "more than it needs"),
        ({"tensor_parallel_size": 2}, "none", "tensor_parallel_size is not modelled"),
    ],
)
def test_axolotls_keys_say_how_gpus_share_and_the_words_say_what_was_assumed(
    keys: dict[str, Any], sharding: str, said: str
) -> None:
    plan = plan_parallel(4, keys)
    assert plan.sharding == sharding
    assert any(said in sentence for sentence in plan.words)
    assert plan.spread(STEP).parallelism is not None


def test_hybrid_sharding_divides_the_model_among_the_gpus_of_one_copy() -> None:
    keys = {"fsdp_config": {"reshard_after_forward": True}, "dp_shard_size": 2, "dp_replicate_size": 2}
    assert (plan_parallel(4, keys).n_gpus, plan_parallel(4, keys).sharding) == (2, "full")
    assert plan_parallel(4, keys | {"dp_replicate_size": 4}).sharding == "none"


def test_one_gpu_needs_no_words_and_runs_the_step_as_it_is() -> None:
    plan = plan_parallel(1, {"fsdp": ["full_shard"]})
    assert plan.words == ()
    assert plan.spread(STEP) is STEP


@pytest.fixture
def process_group() -> Iterator[None]:
    """Two processes, of which one is there: collectives do nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("adapter", [Lora(), Everything()], ids=["LoRA", "full fine-tuning"])
def test_units_are_gathered_in_the_order_and_the_size_of_real_fsdp(
    process_group: None, monkeypatch: pytest.MonkeyPatch, adapter: Adapter
) -> None:
    changes: list[int] = []

    def recording(original: Any, sign: int) -> Any:
        def wrapper(tensor: torch.Tensor, *size: Any) -> None:
            before = tensor.untyped_storage().nbytes()
            original(tensor, *size)
            after = tensor.untyped_storage().nbytes()
            if before != after:
                changes.append(sign * max(before, after))

        return wrapper

    monkeypatch.setattr(_flat_param, "_alloc_storage", recording(_flat_param._alloc_storage, 1))
    monkeypatch.setattr(_flat_param, "_free_storage", recording(_flat_param._free_storage, -1))
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA)).to(torch.bfloat16)
    model.enable_input_require_grads()
    model = adapter.inject(model)
    sharded = FullyShardedDataParallel(
        model,
        auto_wrap_policy=fsdp_auto_wrap_policy(model) if isinstance(adapter, Lora) else layers_of(model),
        device_id=torch.device("cpu"),
    )
    ids = torch.zeros(2, 8, dtype=torch.long)
    # The first step finds out the order; from the second on it is known and used.
    for _ in range(2):
        changes.clear()
        sharded.zero_grad()
        sharded(input_ids=ids, labels=ids, use_cache=False).loss.backward()

    share = share_of(whole(adapter, replace(STEP, checkpointing=None)), Parallelism(2, "full"))
    trace, told = share.trace, []
    for number in trace.events:
        storage = number if number >= 0 else ~number
        if trace.categories[storage] == "base weights":
            told.append(trace.sizes_bytes[storage] * (1 if number >= 0 else -1))
    # Trained modules of an adapter are units of their own, too small to be told of.
    units = {abs(size) for size in told}
    assert told == [change for change in changes if abs(change) in units]


def layers_of(model: nn.Module) -> Any:
    layer = type(model.model.layers[0])
    return functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={layer})
