"""The trace of SmolLM2-135M on meta against its training step on real tensors, byte for byte.

The real side shares no code with the trace: transformers builds the model with random weights, PEFT adapts it, and a
plain loop trains it. It is read twice: by the same watch, and by what PyTorch's own allocator of host memory reports
while nobody watches.
"""

from __future__ import annotations

import gc
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from lora_explorer.base_models import find_preset
from lora_explorer.base_models.skeleton import Skeleton, model_config
from lora_explorer.memory.plan.optimizers import StepEvents, trace_optimizer, trained_tensors
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.tracing.layers import Stack, shallow_stack, whole_stack
from lora_explorer.memory.tracing.one_pass import trace_step
from lora_explorer.memory.tracing.prepared_model import base_of, held_tensors, prepare, residents
from lora_explorer.memory.tracing.unrolling import unroll
from lora_explorer.memory.watching.trace import Trace
from lora_explorer.memory.watching.watch import StorageWatch

from .models import Lora, model_of, peak_of, skeleton_of

pytestmark = pytest.mark.usefixtures("one_thread")

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FULL_DEPTH = 30
STEP = Step(2, 64, dtype="float32", autocast=False, attention="eager", conversions="none", kernels="host")
NF4 = replace(STEP, quantization=Quantization("nf4"), kbit_preparation=True)
# Scalars inside kernels, and the random generator's state that checkpointing saves: only on a CPU are they real memory.
SMALL_BYTES = 512
GENERATOR_STATE_BYTES = torch.get_rng_state().numel()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Products this small are slower on several threads, far slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def smollm2(layers: int) -> dict[str, Any]:
    preset = find_preset("HuggingFaceTB/SmolLM2-135M")
    assert preset is not None
    facts = {**json.loads(preset.config_json), "num_hidden_layers": layers}
    # A shallow variant is about its layers; a smaller vocabulary makes it quick.
    return facts if layers == FULL_DEPTH else {**facts, "vocab_size": 4096}


def meta_model(skeleton: Skeleton, stack: Stack, step: Step, dropout: float = 0.0) -> nn.Module:
    return prepare(skeleton, stack, step, Lora(targets=LINEAR, dropout=dropout))


def meta_trace(step: Step, layers: int, dropout: float = 0.0, *, shallow: bool = False) -> Trace:
    """The step on meta; shallow: through the first, the last and one layer between, written out to all of them."""
    skeleton = skeleton_of(smollm2(layers))
    stack = shallow_stack([0] * layers) if shallow else whole_stack(layers)
    model = meta_model(skeleton, stack, step, dropout)
    kept = {number: base_of(model).get_submodule(skeleton.layer_paths[number]) for number in stack.kept}
    with math_kernel(step):
        trace = trace_step(model, kept, step)
    return unroll(trace, stack) if shallow else trace


def real_model(step: Step, layers: int, dropout: float = 0.0) -> PeftModel:
    """Random weights in memory, adapted and checkpointed as the step says."""
    torch.manual_seed(0)
    config = model_config(model_of(smollm2(layers)))
    model = LlamaForCausalLM._from_config(config, dtype=torch.float32, attn_implementation=step.attention)
    if step.quantization:
        weights = model.state_dict()
        model = LlamaForCausalLM.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            attn_implementation=step.attention,
            device_map={"": "cpu"},
            quantization_config=four_bit(step.quantization),
        )
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if step.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": step.checkpointing == "reentrant"})
    targets = list(LINEAR)
    adapted = get_peft_model(
        model, LoraConfig(r=8, target_modules=targets, lora_dropout=dropout, task_type="CAUSAL_LM")
    )
    model.enable_input_require_grads()
    return adapted.train()


def four_bit(quantization: Quantization) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.kind,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=torch.float32,
    )


def math_kernel(step: Step) -> AbstractContextManager[Any]:
    """Without flash kernels PyTorch composes scaled dot product attention of products that every device has."""
    composed = step.attention == "sdpa" and not step.flash_kernels
    return sdpa_kernel(SDPBackend.MATH) if composed else nullcontext()


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(path, parameter) for path, parameter in model.named_parameters() if parameter.requires_grad]


def forward_and_backward(model: nn.Module, step: Step, between: Callable[[], None] = lambda: None) -> None:
    """As the Trainer does, whose loop holds the batch and the loss without its graph; between: once there is a loss."""
    shape = (step.micro_batch_size, step.sequence_len)
    batch = {name: torch.ones(shape, dtype=torch.int64) for name in ("input_ids", "labels", "attention_mask")}
    with math_kernel(step):
        loss = training_step(model, batch, between)
    del batch, loss


def training_step(model: nn.Module, batch: dict[str, torch.Tensor], between: Callable[[], None]) -> torch.Tensor:
    loss = model(**batch, use_cache=False).loss
    between()
    loss.backward()
    return loss.detach()


def watched(model: nn.Module, step: Step) -> Trace:
    watch = StorageWatch("cpu", inner_temporaries={})
    watch.ignore(held_tensors(model))

    def backward_begins() -> None:
        watch.settle()
        watch.phase = "backward"

    with watch:
        forward_and_backward(model, step, backward_begins)
        watch.settle_gradients(parameter.grad for _, parameter in trained(model) if parameter.grad is not None)
    return watch.trace()


def reported_by_the_allocator(action: Callable[[], Any]) -> list[int]:
    """Bytes taken (+) and given back (-), in order, without what only a CPU needs."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    found = profiler.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in found if event.name() == "[memory]"]
    return [size for size in sizes if abs(size) >= SMALL_BYTES and abs(size) != GENERATOR_STATE_BYTES]


def bytes_in_order(record: Trace | StepEvents) -> list[int]:
    """The same from a trace; what is let go after the optimizer step goes when the loop ends."""
    ends = [~number for number in record.finish] if isinstance(record, Trace) else []
    signed = [record.sizes_bytes[n] if n >= 0 else -record.sizes_bytes[~n] for n in [*record.events, *ends]]
    return [size for size in signed if abs(size) >= SMALL_BYTES]


@pytest.mark.parametrize(
    ("step", "dropout"),
    [
        (STEP, 0.0),
        (STEP, 0.1),
        (replace(STEP, checkpointing="reentrant"), 0.0),
        (replace(STEP, checkpointing="non-reentrant"), 0.0),
        (replace(STEP, attention="sdpa"), 0.0),
        (replace(STEP, attention="sdpa", flash_kernels=False), 0.0),
        (replace(STEP, attention="sdpa", flash_kernels=False, checkpointing="non-reentrant"), 0.0),
        (NF4, 0.0),
        (replace(NF4, quantization=Quantization("nf4", double_quant=False), checkpointing="reentrant"), 0.0),
    ],
)
def test_every_birth_and_death_of_the_real_step_is_in_the_trace(step: Step, dropout: float) -> None:
    real, meta = watched(real_model(step, 3, dropout), step), meta_trace(step, 3, dropout)
    assert real.sizes_bytes == meta.sizes_bytes
    assert list(real.events) == [*meta.events, *(~number for number in meta.finish)]
    assert peak_of(real) == peak_of(meta)


# Not with 4-bit products or fused attention, whose CPU kernels take room of their own that CUDA's do not.
@pytest.mark.parametrize("step", [STEP, replace(STEP, checkpointing="non-reentrant")])
def test_the_allocator_itself_reports_what_the_trace_says_while_nobody_watches(step: Step) -> None:
    model = real_model(step, 3)
    reported = reported_by_the_allocator(lambda: forward_and_backward(model, step))
    assert reported == bytes_in_order(meta_trace(step, 3))


@pytest.fixture(scope="module")
def full_depth(one_thread: None) -> list[int]:
    step = replace(STEP, checkpointing="reentrant")
    model = real_model(step, FULL_DEPTH)
    return reported_by_the_allocator(lambda: forward_and_backward(model, step))


@pytest.mark.parametrize("shallow", [False, True])
def test_all_thirty_layers_take_and_give_back_what_the_trace_says(full_depth: list[int], shallow: bool) -> None:
    traced = bytes_in_order(meta_trace(replace(STEP, checkpointing="reentrant"), FULL_DEPTH, shallow=shallow))
    assert max(itertools.accumulate(full_depth)) == max(itertools.accumulate(traced))
    assert full_depth == traced


@pytest.mark.parametrize("step", [STEP, NF4, replace(NF4, quantization=Quantization("nf4", double_quant=False))])
def test_a_real_model_holds_the_bytes_of_the_one_on_meta(step: Step) -> None:
    real = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in held(step)}
    meta = residents(meta_model(skeleton_of(smollm2(3)), whole_stack(3), step), "model.layers", step)
    assert sorted(real.values()) == sorted(resident.size_bytes for resident in meta)


def held(step: Step) -> Iterator[torch.Tensor]:
    model = real_model(step, 3)
    yield from held_tensors(model)


def watched_update(action: Callable[[], Any], known: Sequence[torch.Tensor]) -> tuple[list[int], list[int]]:
    watch = StorageWatch("cpu")
    watch.ignore(iter(known))
    with watch:
        action()
    trace = watch.trace()
    return list(trace.sizes_bytes), list(trace.events)


def test_clipping_and_both_steps_of_a_real_adamw_are_in_the_trace() -> None:
    model = real_model(STEP, 3)
    forward_and_backward(model, STEP)
    parameters = [parameter for _, parameter in trained(model)]
    known = [*parameters, *(parameter.grad for parameter in parameters if parameter.grad is not None)]
    optimizer = torch.optim.AdamW(parameters, fused=True)
    meta = trace_optimizer("adamw_torch_fused", tuple(trained_tensors(trained(model))), clips_gradients=True)
    for action, part in (
        (lambda: nn.utils.clip_grad_norm_(parameters, 1.0), meta.clipping),
        (optimizer.step, meta.first),
        (optimizer.step, meta.later),
    ):
        states = [value for state in optimizer.state.values() for value in state.values()]
        assert watched_update(action, [*known, *states]) == (list(part.sizes_bytes), list(part.events))


def test_a_real_foreach_adamw_takes_the_bytes_of_the_trace() -> None:
    # Its step counts are on the host; there they are seen too, but are below what is compared.
    model = real_model(STEP, 3)
    forward_and_backward(model, STEP)
    parameters = [parameter for _, parameter in trained(model)]
    optimizer = torch.optim.AdamW(parameters, foreach=True)
    meta = trace_optimizer("adamw_torch", tuple(trained_tensors(trained(model))), clips_gradients=False)
    for part in (meta.first, meta.later):
        reported, traced = reported_by_the_allocator(optimizer.step), bytes_in_order(part)
        assert sorted(reported) == sorted(traced)
        assert max(itertools.accumulate(reported)) == max(itertools.accumulate(traced))
