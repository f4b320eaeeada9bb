"""What Axolotl puts into a file is listed with its reason; what has no effect is not."""

from __future__ import annotations

from typing import Any

import pytest
from broken_files import FINE_FILE

from lora_explorer.exports.axolotl.filled_in import filled_in

QLORA = {"adapter": "qlora", "load_in_4bit": True}
KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def values_of(added: dict[str, Any]) -> dict[str, Any]:
    return {each.key: each.value for each in filled_in(FINE_FILE | added)}


def test_defaults_that_matter_are_listed() -> None:
    filled = values_of({})
    assert (filled["micro_batch_size"], filled["gradient_accumulation_steps"], filled["sequence_len"]) == (1, 1, 512)
    assert (filled["lora_dropout"], filled["bf16"], filled["output_dir"]) == (0.0, "auto", "./model-out")
    assert "nf4_backend" not in filled
    assert "loraplus_lr_embedding" not in filled


def test_defaults_with_an_effect_only_beside_another_key_are_listed_there() -> None:
    assert values_of(QLORA)["nf4_backend"] == "bitsandbytes"
    assert values_of({"loraplus_lr_ratio": 16})["loraplus_lr_embedding"] == 1e-6


@pytest.mark.parametrize(
    ("added", "on"),
    [
        ({}, True),
        (QLORA, True),
        ({"load_in_8bit": True}, False),
        ({"lora_embedding_kernel": False}, False),
        ({"rl": "orpo"}, False),
        ({"trust_remote_code": True}, False),
        ({"nvfp4_merge_aware": True}, False),
        ({"adapter": None}, False),
    ],
)
def test_kernels_turn_on_under_axolotls_conditions(added: dict[str, Any], on: bool) -> None:
    filled = values_of(added)
    assert [filled.get(kernel) is True for kernel in KERNELS] == [on] * 4


@pytest.mark.parametrize(
    ("added", "key", "value"),
    [
        ({"lora_dropout": None}, "lora_dropout", 0.0),
        ({"flash_attention": True}, "attn_implementation", "flash_attention_2"),
        ({"gradient_checkpointing": "offload"}, "activation_offloading", True),
        ({"gradient_checkpointing": "offload_disk"}, "activation_offloading", "disk"),
        ({"gradient_checkpointing": "offload"}, "gradient_checkpointing", True),
        ({"sample_packing": True}, "pad_to_sequence_len", True),
        ({"sample_packing": True}, "eval_sample_packing", True),
        ({"seed": None}, "seed", 42),
        ({"fsdp_config": {"offload_params": True}}, "fsdp_config.fsdp_version", 2),
        ({"evaluation_strategy": "steps"}, "eval_strategy", "steps"),
        (
            {**QLORA, "fsdp_config": {"fsdp_cpu_ram_efficient_loading": True}},
            "qlora_sharded_model_loading",
            True,
        ),
        (
            {**QLORA, "qlora_sharded_model_loading": True},
            "qlora_sharded_model_loading",
            False,
        ),
        (
            {"activation_offloading": "hidden_states", "gradient_checkpointing": True},
            "gradient_checkpointing_kwargs.use_reentrant",
            False,
        ),
    ],
)
def test_a_value_follows_from_others(added: dict[str, Any], key: str, value: Any) -> None:
    (found,) = [each for each in filled_in(FINE_FILE | added) if each.key == key]
    assert found.value == value
    assert found.why.endswith(".")


def test_what_is_written_is_not_filled_in() -> None:
    written = values_of({})
    again = values_of({key: value for key, value in written.items() if "." not in key})
    assert not set(again) & set(written)


@pytest.mark.parametrize("values", [{}, {"adapter": 3}, {"fsdp_config": 4, "plugins": "x"}, {2: 3, None: 1}])
def test_odd_values_are_no_obstacle(values: dict[Any, Any]) -> None:
    assert all(each.key and each.why for each in filled_in(values))
