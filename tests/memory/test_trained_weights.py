"""What is trained decides what a step holds: adapters and their type, dropout, saved modules, experts, everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from peft import get_peft_model
from torch import nn
from transformers import PreTrainedModel

from lora_explorer.memory.plan.optimizers import trace_optimizer
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import TracedRun, trace_run
from lora_explorer.memory.tracing.prepared_model import Everything
from lora_explorer.memory.watching.trace import Resident, Trace

from .models import LLAMA, MIXTRAL, Lora, peak_of, skeleton_of

STEP = Step(2, 128, outputs_to_float32=False)
TOKENS = 2 * 128
VOCABULARY, WIDTH, LAYERS = 512, 64, 7


@dataclass(frozen=True)
class HalfLora(Lora):
    """Adapters left in the type of the base model."""

    def inject(self, model: PreTrainedModel) -> nn.Module:
        adapted: Any = super().inject(model)
        bare = adapted.unload()
        return get_peft_model(bare, adapted.peft_config["default"], autocast_adapter_dtype=False)


def run_of(adapter: Any, step: Step = STEP, config: dict[str, Any] = LLAMA) -> TracedRun:
    return trace_run(skeleton_of(config), step, adapter)


def held(residents: tuple[Resident, ...]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for resident in residents:
        sizes[resident.category] += resident.size_bytes
    return sizes


def bytes_of(trace: Trace, category: str) -> int:
    return sum(size for size, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == category)


def test_dropout_keeps_a_byte_of_mask_for_every_input_value_of_every_adapter() -> None:
    plain, dropped = (run_of(Lora(dropout=rate)).trace for rate in (0.0, 0.1))
    masks = Counter(dropped.sizes_bytes)[TOKENS * WIDTH] - Counter(plain.sizes_bytes)[TOKENS * WIDTH]
    assert masks == 4 * LAYERS  # q, k, v and o each have a mask of their own


def test_adapters_in_half_precision_take_half_the_bytes_and_make_half_the_gradients() -> None:
    full, half = run_of(Lora()), run_of(HalfLora())
    assert held(full.residents)["adapter"] == 2 * held(half.residents)["adapter"]
    assert bytes_of(full.trace, "gradients") == 2 * bytes_of(half.trace, "gradients")
    assert held(full.residents)["base weights"] == held(half.residents)["base weights"]


def test_float32_adapters_are_cast_once_a_pass_and_half_ones_never() -> None:
    matrix = 8 * WIDTH
    full, half = (Counter(run_of(adapter).trace.sizes_bytes) for adapter in (Lora(), HalfLora()))
    assert full[2 * matrix] > half[2 * matrix]


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_a_saved_module_costs_a_copy_in_the_base_type_its_gradient_and_its_states(module: str) -> None:
    plain, saved = (run_of(Lora(options=options)) for options in ((), (("modules_to_save", [module]),)))
    copy = VOCABULARY * WIDTH * 2
    assert held(saved.residents)["saved copies"] == copy
    assert bytes_of(saved.trace, "gradients") - bytes_of(plain.trace, "gradients") == copy
    states = [
        sum(trace_optimizer("adamw_torch_fused", run.trained, clips_gradients=False).first.sizes_bytes)
        for run in (plain, saved)
    ]
    assert states[1] - states[0] == 2 * copy + 4  # two moments in its type and a count


def test_tied_embeddings_are_held_once() -> None:
    tied, apart = (run_of(Lora(), config={**LLAMA, "tie_word_embeddings": tied}) for tied in (True, False))
    difference = held(apart.residents)["base weights"] - held(tied.residents)["base weights"]
    assert difference == VOCABULARY * WIDTH * 2


def test_adapters_on_fused_experts_make_the_whole_change_of_their_weights() -> None:
    targets = (("target_parameters", ["mlp.experts.gate_up_proj"]),)
    plain, adapted = (run_of(Lora(options=options), config=MIXTRAL) for options in ((), targets))
    experts, inner = 4, 160
    assert held(adapted.residents)["adapter"] > held(plain.residents)["adapter"]
    weight = experts * 2 * inner * WIDTH * 2
    assert Counter(adapted.trace.sizes_bytes)[weight] > Counter(plain.trace.sizes_bytes)[weight]
    assert peak_of(adapted.trace) > peak_of(plain.trace) + weight


def test_full_training_has_a_gradient_for_every_weight_in_its_type() -> None:
    run = run_of(Everything(), replace(STEP, inputs_require_grads=False))
    weights = sum(resident.size_bytes for resident in run.residents if resident.arrives_bytes)
    assert bytes_of(run.trace, "gradients") == weights
    assert "adapter" not in held(run.residents)


def test_full_training_steps_in_the_type_of_the_weights() -> None:
    run = run_of(Everything(), replace(STEP, inputs_require_grads=False))
    weights = sum(resident.size_bytes for resident in run.residents if resident.arrives_bytes)
    first = trace_optimizer("adamw_torch_fused", run.trained, clips_gradients=False).first
    assert sum(first.sizes_bytes) == 2 * weights + 4 * len(run.trained)


def test_clipping_looks_at_gradients_without_copying_them() -> None:
    run = run_of(Everything(), replace(STEP, inputs_require_grads=False))
    clipping = trace_optimizer("adamw_torch_fused", run.trained, clips_gradients=True).clipping
    assert 0 < sum(clipping.sizes_bytes) <= 64 * len(run.trained)


def test_accumulated_gradients_are_there_from_the_start_and_new_ones_added_to_them() -> None:
    once, again = (run_of(Lora(), replace(STEP, accumulates=accumulates)).trace for accumulates in (False, True))
    assert bytes_of(once, "gradients") > 0
    assert bytes_of(again, "gradients") == 0


def test_dora_holds_a_magnitude_for_every_row_and_trains_it() -> None:
    plain, dora = (run_of(Lora(options=options)) for options in ((), (("use_dora", True),)))
    rows = LAYERS * (64 + 32 + 32 + 64)
    assert held(dora.residents)["adapter"] - held(plain.residents)["adapter"] == 4 * rows
    assert bytes_of(dora.trace, "gradients") - bytes_of(plain.trace, "gradients") == 4 * rows


def test_rank_stabilized_scaling_changes_no_byte() -> None:
    plain, stabilized = (run_of(Lora(options=options)) for options in ((), (("use_rslora", True),)))
    assert plain.trace == stabilized.trace
    assert plain.residents == stabilized.residents
