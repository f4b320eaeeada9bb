"""The operations of the traced step against those that torch counts in a real step, and against counts by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaForCausalLM

from lora_explorer.base_models.skeleton import model_config
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.run_families import run_of
from lora_explorer.memory.runs.traced_run import RecipeAdapter, TracedRun, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.memory.watching.operator_work import moves
from lora_explorer.memory.watching.watch import StorageWatch, declare
from lora_explorer.memory.watching.work import Work

from .models import DEEPSEEK, GEMMA_3, GPT_OSS, LLAMA, MIXTRAL, Lora, model_of, recipe_of, skeleton_of

SMALL = {**LLAMA, "num_hidden_layers": 3}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PLAIN = Step(2, 48, dtype="float32", autocast=False, attention="eager", conversions="none", kernels="host")
LIGER = "axolotl.integrations.liger.LigerPlugin"
CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
TOKENS = 2 * 48


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def counted_by_torch(step: Step, adapter: Lora | None) -> int:
    """Of a real step on real tensors, by torch's own counter, which shares nothing with the watch."""
    model: Any = LlamaForCausalLM._from_config(model_config(model_of(SMALL)), attn_implementation="eager")
    model.float()
    if step.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": step.checkpointing == "reentrant"})
    if adapter is not None:
        settings = {"r": adapter.r, "target_modules": list(adapter.targets), **dict(adapter.options)}
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        model.get_base_model().enable_input_require_grads()
    tokens = torch.ones(step.micro_batch_size, step.sequence_len, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model.train()(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
    return int(counter.get_total_flops())


def flops_of(run: TracedRun) -> int:
    """Of the whole model, attention over the whole row."""
    work = run.work
    return sum(
        int(flops) * times * (int(operation.attends.pairs(int(tokens))) if operation.attends else 1)
        for operation, flops, tokens, times in zip(
            work.operations, work.flops, work.tokens, run.repeats.tolist(), strict=True
        )
    )


def bytes_of(run: TracedRun) -> int:
    return int((run.work.bytes_of_operations * run.repeats).sum())


def traced(step: Step, adapter: Adapter, config: dict[str, Any] = SMALL, *, full_depth: bool = False) -> TracedRun:
    return trace_run(skeleton_of(config), step, adapter, full_depth=full_depth)


@pytest.mark.parametrize("checkpointing", [None, "reentrant", "non-reentrant"])
@pytest.mark.parametrize("adapter", [Lora(targets=LINEAR), Lora(), Lora(options=(("use_dora", True),)), None])
def test_a_real_step_makes_as_many_operations_as_the_traced_one(checkpointing: Any, adapter: Lora | None) -> None:
    step = replace(PLAIN, checkpointing=checkpointing, inputs_require_grads=adapter is not None)
    for full_depth in (False, True):
        run = traced(step, adapter or Everything(), full_depth=full_depth)
        assert flops_of(run) == counted_by_torch(step, adapter)


def test_a_step_that_trains_an_adapter_makes_no_gradients_of_frozen_weights() -> None:
    full, adapted = (flops_of(traced(PLAIN, adapter)) for adapter in (Everything(), Lora(r=1, targets=("q_proj",))))
    width, inner, heads = SMALL["hidden_size"], SMALL["intermediate_size"], 2 * 16
    weights = 3 * (2 * width * width + 2 * width * heads + 3 * width * inner) + SMALL["vocab_size"] * width
    # Forward, and gradients of B, through B, and of A; through A to the input too: six products of rank 1.
    of_adapter = 3 * 6 * TOKENS * 2 * width
    assert full - adapted == 2 * TOKENS * weights - of_adapter


def test_the_products_of_one_lora_layer_are_those_counted_by_hand() -> None:
    tokens, inside, outside, rank = 5, 24, 40, 4
    layer = get_peft_model(
        nn.Sequential(nn.Linear(inside, outside, bias=False)), LoraConfig(r=rank, target_modules=["0"])
    )
    layer = layer.to("meta")
    x = torch.empty(tokens, inside, device="meta", requires_grad=True)
    watch = StorageWatch("meta")
    with watch:
        loss = layer(x).sum()
        watch.phase = "backward"
        loss.backward()
    base, a, b = tokens * inside * outside, tokens * inside * rank, tokens * rank * outside
    forward = [base, a, b]
    # Through the base to x; then to B and through it, to A and through it to x.
    backward = [base, b, b, a, a]
    assert products(watch.work(), "forward") == sorted(2 * count for count in forward)
    assert products(watch.work(), "backward") == sorted(2 * count for count in backward)


def products(work: Work, stage: str) -> list[int]:
    found = zip(work.operations, work.flops.tolist(), strict=True)
    return sorted(flops for operation, flops in found if operation.stage == stage and flops)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dense": (LLAMA, {}),
    "checkpointed": (LLAMA, {"gradient_checkpointing": True}),
    "QLoRA": (LLAMA, {"adapter": "qlora", "load_in_4bit": True, "gradient_checkpointing": True}),
    "8 bits": (LLAMA, {"load_in_8bit": True}),
    "packed": (LLAMA, {"sample_packing": True, "attn_implementation": "flash_attention_2"}),
    "fused loss": (LLAMA, {"plugins": [LIGER], "liger_fused_linear_cross_entropy": True}),
    "mixture of experts": (MIXTRAL, {}),
    "dense layers first": (DEEPSEEK, {}),
    "windows": (GEMMA_3, {"sequence_len": 192}),
    "sinks": (GPT_OSS, {"attn_implementation": "eager"}),
    "a rank of its own": (LLAMA, {"lora_rank_pattern": {"layers.2.self_attn.q_proj": 4}}),
    "last layers": (LLAMA, {"peft_layers_to_transform": [5, 6]}),
    "short convolutions": (
        {
            "model_type": "lfm2", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 160,
            "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "full_attn_idxs": [2, 5],
            "max_position_embeddings": 512,
        },
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_few_layers_tell_the_work_of_all_exactly(name: str) -> None:
    config, settings = CASES[name]
    recipe = recipe_of(**settings)
    step, adapter, skeleton = step_from(recipe, None), RecipeAdapter(recipe), skeleton_of(config)
    shallow, deep = (trace_run(skeleton, step, adapter, full_depth=full_depth) for full_depth in (False, True))
    assert len(shallow.stack.kept) < len(deep.stack.kept)
    assert (flops_of(shallow), bytes_of(shallow)) == (flops_of(deep), bytes_of(deep))
    assert shallow.repeats.sum() == deep.repeats.sum() == len(deep.work.operations)


@pytest.mark.parametrize("name", ["dense", "QLoRA", "8 bits", "packed", "mixture of experts"])
def test_work_that_follows_by_law_is_work_that_was_traced(name: str) -> None:
    config, settings = CASES[name]
    skeleton = skeleton_of(config)
    for rows, tokens, rank in ((2, 256, 8), (3, 384, 8), (5, 1024, 24)):
        recipe = recipe_of(**{**settings, "micro_batch_size": rows, "sequence_len": tokens, "lora_r": rank})
        step, adapter = step_from(recipe, None), RecipeAdapter(recipe)
        lawful, real = run_of(skeleton, step, adapter).work, trace_run(skeleton, step, adapter).work
        assert lawful.operations == real.operations
        assert lawful.numbers.tolist() == real.numbers.tolist()


def test_four_bits_change_no_product() -> None:
    plain, packed = (
        flops_of(traced(replace(PLAIN, dtype="bfloat16", kernels="cuda", quantization=quantization), Lora()))
        for quantization in (None, Quantization("nf4"))
    )
    assert plain == packed


def of_loss(**settings: Any) -> int:
    recipe = recipe_of(**settings, lora_mlp_kernel=False)
    return flops_of(traced(step_from(recipe, None), RecipeAdapter(recipe)))


def test_a_loss_that_never_holds_the_logits_makes_the_same_products() -> None:
    plain = of_loss()
    assert of_loss(chunked_cross_entropy=True) == plain
    assert of_loss(plugins=[LIGER], liger_cross_entropy=True) == plain
    assert of_loss(plugins=[LIGER], liger_fused_linear_cross_entropy=True) == plain
    # Cut cross-entropy makes the logits once more in the backward pass.
    head = 2 * 256 * SMALL["hidden_size"] * SMALL["vocab_size"]
    assert of_loss(plugins=[CUT]) == plain + head


def test_fused_lora_kernels_make_one_product_more_for_each_projection() -> None:
    """They multiply A with the input once more for B's gradient, in place of keeping the product.

    The MLP also goes through B of its down projection twice (axolotl/kernels/lora.py).
    """
    rank, tokens, width = 16, 256, SMALL["hidden_size"]
    inputs = 3 * (4 * width + 2 * width + SMALL["intermediate_size"] + width)
    recipe = recipe_of(lora_r=rank, lora_dropout=0.0)
    fused, plain = (
        flops_of(traced(step_from(each, None), RecipeAdapter(each)))
        for each in (recipe, recipe.changed(lora_mlp_kernel=False))
    )
    assert fused - plain == 2 * tokens * rank * inputs


def test_experts_compute_for_the_tokens_that_are_sent_to_them() -> None:
    """Twice as many experts to choose from are no more products but those of the router."""
    small, large = (
        flops_of(
            traced(step_from(recipe_of(), None), RecipeAdapter(recipe_of()), {**MIXTRAL, "num_local_experts": count})
        )
        for count in (4, 8)
    )
    layers, tokens, width = MIXTRAL["num_hidden_layers"], 256, MIXTRAL["hidden_size"]
    assert 0 < large - small <= layers * 3 * 2 * tokens * width * 4


def test_a_kernel_that_nobody_watches_is_told_to_nobody() -> None:
    declare(moves("attention", torch.empty(2)))
