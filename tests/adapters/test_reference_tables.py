"""Counts that Axolotl 0.21 and PEFT 0.21 printed for published models, measured once and kept here."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.recipes import plan, preset
from lora_explorer.errors import ExplorerError

LLAMA_3_8B = "meta-llama/Meta-Llama-3-8B"
QWEN3_MOE = "Qwen/Qwen3-30B-A3B"
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"

LINEAR = {"lora_target_linear": True}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
SEVEN = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
WITH_EXPERTS = {"lora_target_modules": ATTENTION, "lora_target_parameters": EXPERTS}

# Trainable parameters of Llama-3-8B at rank 32, each through Axolotl's own loading.
COMBINATIONS: tuple[tuple[dict[str, Any], int], ...] = (
    (LINEAR, 83_886_080),
    ({"lora_target_modules": "all-linear"}, 83_886_080),
    ({"lora_target_modules": ["q_proj", "v_proj"]}, 13_631_488),
    ({"lora_target_modules": r".*self_attn\.(q|v)_proj"}, 13_631_488),
    ({"lora_target_modules": r"model.layers.[\d]+.self_attn.(q|v)_proj"}, 13_631_488),
    ({"lora_target_modules": ["c_attn", "q_proj"]}, 8_388_608),
    ({**LINEAR, "lora_target_modules": ["q_proj", "embed_tokens"]}, 88_121_344),
    ({**LINEAR, "lora_target_modules": ["lm_head"]}, 88_121_344),
    ({**LINEAR, "lora_target_modules": "all-linear"}, 83_886_080),
    ({**LINEAR, "lora_target_modules": r".*self_attn\.(q|v)_proj"}, 83_886_080),
    ({**LINEAR, "peft_use_dora": True}, 85_262_336),
    ({**LINEAR, "lora_rank_pattern": {"q_proj": 64}}, 92_274_688),
    ({**LINEAR, "peft_layers_to_transform": [0, 1]}, 5_242_880),
    ({**LINEAR, "peft_layer_replication": [[0, 16], [8, 32]]}, 104_857_600),
    ({**LINEAR, "peft_trainable_token_indices": [1, 2, 3]}, 83_898_368),
    ({**LINEAR, "lora_modules_to_save": ["embed_tokens", "lm_head"]}, 1_134_559_232),
    ({**LINEAR, "peft_use_rslora": True}, 83_886_080),
)
REFUSED: tuple[dict[str, Any], ...] = (
    {"lora_target_modules": "self_attn.(q|v)_proj"},
    {"lora_target_modules": [r".*self_attn\.(q|v)_proj"]},
    {"lora_target_modules": ["all-linear"]},
    {"lora_target_modules": ["proj"]},
    {"lora_target_modules": ["c_attn"]},
    {},
    {"lora_target_modules": "all-linear", "peft_layers_to_transform": [1]},
)
# Mixture-of-experts models at rank 32: base parameters and trainable ones.
EXPERT_MODELS: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    (QWEN3_MOE, LINEAR, 30_532_122_624, 26_738_688),
    (QWEN3_MOE, WITH_EXPERTS, 30_532_122_624, 1_285_029_888),
    (QWEN3_MOE, {"lora_target_modules": SEVEN}, 30_532_122_624, 1_989_672_960),
    (MIXTRAL, LINEAR, 46_702_792_704, 27_262_976),
    (MIXTRAL, WITH_EXPERTS, 46_702_792_704, 446_693_376),
    (MIXTRAL, {"lora_target_modules": SEVEN}, 46_702_792_704, 27_262_976),
)
# Rank 16: trainable parameters, and all of them with the adapter, as PEFT prints them.
PRINTED: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("meta-llama/Llama-3.2-1B", LINEAR, 11_272_192, 1_247_086_592),
    ("meta-llama/Llama-3.1-8B", LINEAR, 41_943_040, 8_072_204_288),
    ("meta-llama/Llama-3.1-70B", LINEAR, 207_093_760, 70_760_800_256),
    (QWEN3_MOE, WITH_EXPERTS, 642_514_944, 31_174_637_568),
    (MIXTRAL, WITH_EXPERTS, 223_346_688, 46_926_139_392),
)


@pytest.mark.parametrize(("settings", "trainable_params"), COMBINATIONS, ids=str)
def test_a_combination_of_targets_trains_what_axolotl_trains(settings: dict[str, Any], trainable_params: int) -> None:
    assert plan(preset(LLAMA_3_8B), lora_r=32, **settings).trainable_params == trainable_params


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_what_axolotl_fails_on_is_refused_at_a_target_setting(settings: dict[str, Any]) -> None:
    with pytest.raises(ExplorerError) as refused:
        plan(preset(LLAMA_3_8B), lora_r=32, **settings)
    assert [finding.setting.startswith(("lora_target", "peft_layers")) for finding in refused.value.findings] == [True]


@pytest.mark.parametrize(("model", "settings", "base_params", "trainable_params"), EXPERT_MODELS, ids=str)
def test_experts_count_as_peft_counts_them(
    model: str, settings: dict[str, Any], base_params: int, trainable_params: int
) -> None:
    counted = plan(preset(model), lora_r=32, **settings)
    assert (counted.base_params, counted.trainable_params) == (base_params, trainable_params)


def test_dropout_leaves_the_count_of_experts_as_it_is() -> None:
    skeleton = preset(QWEN3_MOE)
    without = plan(skeleton, lora_target_modules=SEVEN)
    assert plan(skeleton, lora_target_modules=SEVEN, lora_dropout=0.05).modules == without.modules


@pytest.mark.parametrize(("model", "settings", "trainable_params", "all_params"), PRINTED, ids=str)
def test_both_numbers_are_the_ones_peft_prints(
    model: str, settings: dict[str, Any], trainable_params: int, all_params: int
) -> None:
    counted = plan(preset(model), lora_r=16, **settings)
    assert (counted.trainable_params, counted.all_params) == (trainable_params, all_params)
