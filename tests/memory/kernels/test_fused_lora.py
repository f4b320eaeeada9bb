"""Axolotl's fused LoRA kernels: what they keep, what they make, and where they go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lora_explorer.memory.kernels.fused_kernels import KERNELS, Kernel, install, kernels_refused
from lora_explorer.memory.kernels.fused_lora import Projection, fused_mlp, fused_projections
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.tracing.layers import whole_stack
from lora_explorer.memory.tracing.prepared_model import prepare
from lora_explorer.memory.watching.trace import Trace
from lora_explorer.memory.watching.watch import StorageWatch

from ..models import GEMMA_3, LLAMA, Lora, peak_of, recipe_of, skeleton_of

WIDE = {**LLAMA, "hidden_size": 256, "intermediate_size": 640}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ALL: frozenset[Kernel] = frozenset(KERNELS)
STEP = Step(2, 128, outputs_to_float32=False)
TOKENS = 2 * 128


def traced(step: Step, **adapter: Any) -> Trace:
    return trace_run(skeleton_of(WIDE), step, Lora(targets=LINEAR, **adapter)).trace


def saved_bytes(trace: Trace) -> int:
    return sum(s for s, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "saved activations")


class Adapted(nn.Module):
    """A linear layer with an adapter in float32, as PEFT builds it."""

    def __init__(self, width: int, out: int, r: int, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        make: dict[str, Any] = {"bias": False, "device": "meta"}
        self.base_layer = nn.Linear(width, out, dtype=dtype, **make).requires_grad_(False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(width, r, **make)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(r, out, **make)})
        self.active_adapters = ["default"]


def watching(x: torch.Tensor, *modules: nn.Module) -> StorageWatch:
    watch = StorageWatch("meta")
    watch.ignore(iter([x, *(parameter for module in modules for parameter in module.parameters())]))
    return watch


def watched_projections(outs: tuple[int, ...]) -> tuple[list[int], list[Adapted]]:
    modules = [Adapted(64, out, 8) for out in outs]
    x = torch.empty(2, 16, 64, dtype=torch.bfloat16, device="meta", requires_grad=True)
    watch = watching(x, *modules)
    with watch:
        outputs = fused_projections(tuple(Projection(module) for module in modules), x)
    alive = set(range(len(watch.trace().sizes_bytes))) - {~n for n in watch.trace().events if n < 0}
    del outputs
    return sorted(watch.trace().sizes_bytes[number] for number in alive), modules


def test_projections_keep_only_their_matrices_in_the_type_of_the_input() -> None:
    kept, _ = watched_projections((64, 32, 32))
    outputs = [2 * 16 * out * 2 for out in (64, 32, 32)]
    matrices = [8 * side * 2 for out in (64, 32, 32) for side in (64, out)]
    assert kept == sorted(outputs + matrices)


def test_gradients_of_the_adapter_come_in_its_own_type_and_shape() -> None:
    modules = [Adapted(64, 32, 8), Adapted(64, 16, 8)]
    x = torch.empty(2, 16, 64, dtype=torch.bfloat16, device="meta", requires_grad=True)
    outputs = fused_projections(tuple(Projection(module) for module in modules), x)
    torch.autograd.backward([output.sum() for output in outputs])
    assert x.grad is not None
    assert x.grad.shape == x.shape
    for module in modules:
        for parameter in (module.lora_A["default"].weight, module.lora_B["default"].weight):
            assert parameter.grad is not None
            assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.shape, torch.float32)
        assert module.base_layer.weight.grad is None


def test_the_gated_product_of_an_mlp_is_not_kept_and_its_gradients_are_written_in_place() -> None:
    width, inner = 64, 4096
    modules = [Adapted(width, inner, 8), Adapted(width, inner, 8), Adapted(inner, width, 8)]
    x = torch.empty(1, 20, width, dtype=torch.bfloat16, device="meta", requires_grad=True)
    watch = watching(x, *modules)
    with watch:
        output = fused_mlp(tuple(Projection(module) for module in modules), x)
        forward = len(watch.trace().sizes_bytes)
        output.sum().backward()
    inner_bytes = 20 * inner * 2
    sizes = watch.trace().sizes_bytes
    assert sizes[:forward].count(inner_bytes) == 3  # gate, up, and their product, which dies
    # The gradient of the product is one more; those of gate and up lie over gate and up.
    assert sizes[forward:].count(inner_bytes) == 1


@pytest.mark.parametrize("checkpointing", [None, "non-reentrant", "reentrant"])
@pytest.mark.parametrize("options", [(), (("use_dora", True),)], ids=["lora", "dora"])
def test_fused_kernels_need_less_than_pefts_layers(checkpointing: Any, options: Any) -> None:
    step = replace(STEP, checkpointing=checkpointing)
    plain, fused = (peak_of(traced(each, options=options)) for each in (step, replace(step, fused_lora=ALL)))
    assert fused < 0.8 * plain


def test_a_layer_keeps_its_inputs_and_the_two_halves_of_the_mlp_and_no_float32_copies() -> None:
    few, many = (
        saved_bytes(trace_run(skeleton_of({**WIDE, "num_hidden_layers": n}), step, Lora(targets=LINEAR)).trace)
        for n, step in ((5, replace(STEP, fused_lora=ALL)), (6, replace(STEP, fused_lora=ALL)))
    )
    a_layer = many - few
    tokens_wide = TOKENS * 2 * 256
    inner = TOKENS * 2 * 640
    assert a_layer > 2 * inner + 2 * tokens_wide
    assert a_layer < 2 * inner + 16 * tokens_wide


def test_each_kernel_by_itself_saves_something() -> None:
    plain = saved_bytes(traced(STEP))
    for kernel in ("mlp", "qkv", "o"):
        kernels: frozenset[Kernel] = frozenset({kernel})
        assert saved_bytes(traced(replace(STEP, fused_lora=kernels))) < plain


def test_dropout_is_shared_by_projections_of_one_input() -> None:
    plain, fused = (traced(step, dropout=0.1) for step in (STEP, replace(STEP, fused_lora=ALL)))
    masks = TOKENS * 256  # one byte a value
    assert plain.sizes_bytes.count(masks) > fused.sizes_bytes.count(masks) > 0


def test_four_bit_weights_are_unpacked_once_forward_and_once_backward() -> None:
    step = replace(STEP, micro_batch_size=3, quantization=Quantization("nf4"), fused_lora=ALL)
    skeleton = skeleton_of({**WIDE, "intermediate_size": 656})
    trace = trace_run(skeleton, step, Lora(targets=LINEAR), full_depth=True).trace
    assert trace.sizes_bytes.count(256 * 656 * 2) == 7 * 3 * 2


def test_projections_without_an_adapter_of_their_own_are_left_to_peft() -> None:
    step = replace(STEP, fused_lora=ALL)
    model: Any = prepare(skeleton_of(WIDE), whole_stack(7), step, Lora(targets=("q_proj", "o_proj")))
    attention = model.base_model.model.model.layers[0].self_attn
    assert "forward" in vars(attention.o_proj)
    assert "forward" not in vars(attention.q_proj)
    assert "forward" not in vars(model.base_model.model.model.layers[0].mlp)


def test_the_embedding_kernel_alone_changes_nothing_as_in_axolotl() -> None:
    cases: tuple[tuple[frozenset[Kernel], bool], ...] = (
        (frozenset({"embedding"}), False),
        (frozenset({"embedding", "o"}), True),
    )
    for kernels, patched in cases:
        step = replace(STEP, fused_lora=kernels)
        model: Any = prepare(skeleton_of(WIDE), whole_stack(7), step, Lora(targets=("embed_tokens", "q_proj")))
        assert ("forward" in vars(model.get_input_embeddings())) is patched


def test_an_adapted_embedding_makes_its_gradients_in_float32() -> None:
    step = replace(STEP, fused_lora=ALL)
    trace = trace_run(skeleton_of(WIDE), step, Lora(targets=("embed_tokens", *LINEAR))).trace
    assert TOKENS * 256 * 4 in trace.sizes_bytes


def test_architectures_whose_attention_axolotl_cannot_rewrite_are_named() -> None:
    assert kernels_refused(skeleton_of(WIDE), ALL) is None
    phi = skeleton_of({**LLAMA, "model_type": "phi3", "pad_token_id": 0})
    refused = kernels_refused(phi, ALL)
    assert refused is not None
    assert "Phi3Attention" in refused
    assert kernels_refused(phi, frozenset({"mlp"})) is None
    assert kernels_refused(phi, frozenset()) is None


def test_activations_that_no_kernel_knows_are_named() -> None:
    refused = kernels_refused(skeleton_of({**LLAMA, "hidden_act": "relu"}), ALL)
    assert refused is not None
    assert "relu" in refused
    assert refused.startswith("Axolotl would stop")
    assert kernels_refused(skeleton_of(GEMMA_3), ALL) is None


def test_architectures_for_which_axolotl_turns_the_kernels_off_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    skeleton = skeleton_of(WIDE)
    monkeypatch.setattr(type(skeleton.model.config), "model_type", "glm5_next")
    refused = kernels_refused(skeleton, ALL)
    assert refused is not None
    assert "turns its fused LoRA kernels off" in refused
    assert kernels_refused(skeleton, frozenset()) is None


def test_where_axolotl_would_stop_peft_runs() -> None:
    phi = skeleton_of({**LLAMA, "model_type": "phi3", "pad_token_id": 0})
    adapter = Lora(targets=("qkv_proj", "o_proj"))
    assert trace_run(phi, replace(STEP, fused_lora=ALL), adapter).trace == trace_run(phi, STEP, adapter).trace


@pytest.mark.parametrize(
    ("settings", "kernels"),
    [
        ({}, set(KERNELS)),
        ({"adapter": "qlora", "load_in_4bit": True}, set(KERNELS)),
        ({"load_in_8bit": True}, set()),
        ({"lora_o_kernel": True}, {"o"}),
        ({"lora_o_kernel": False}, set()),
        ({"adapter": None, "lora_target_linear": None, "lora_r": None, "lora_alpha": None}, set()),
    ],
    ids=str,
)
def test_axolotl_turns_all_kernels_on_unless_one_is_given(settings: dict[str, Any], kernels: set[Kernel]) -> None:
    assert step_from(recipe_of(**settings), None).fused_lora == kernels


def test_nothing_is_installed_without_kernels() -> None:
    model: Any = prepare(skeleton_of(WIDE), whole_stack(7), STEP, Lora(targets=LINEAR))
    install(model.base_model.model, frozenset(), list(model.base_model.model.model.layers))
    assert not any("forward" in vars(module) for module in model.modules() if isinstance(module, nn.Linear))
