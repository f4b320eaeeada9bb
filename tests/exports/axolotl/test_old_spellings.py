"""Old keys and values are read as Axolotl reads them, named, and can be put right."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.fixing import with_fix
from lora_explorer.findings import Finding

START = "base_model: some/model\nlearning_rate: 0.0002\ndatasets: [{path: x, type: alpaca}]\n"


def found(text: str, key: str) -> Finding:
    (finding,) = [finding for finding in import_axolotl(START + text).findings if finding.setting == key]
    return finding


@pytest.mark.parametrize(
    ("text", "key", "outcome", "mended"),
    [
        ("dataset_processes: 4\n", "dataset_processes", "warns", {"dataset_num_proc": 4}),
        ("evaluation_strategy: steps\n", "evaluation_strategy", "warns", {"eval_strategy": "steps"}),
        ("noisy_embedding_alpha: 5\n", "noisy_embedding_alpha", "warns", {"neftune_noise_alpha": 5}),
        ("sequence_parallel_degree: 2\n", "sequence_parallel_degree", "warns", {"context_parallel_size": 2}),
        ("dpo_beta: 0.1\n", "dpo_beta", "warns", {"rl_beta": 0.1}),
        ("flash_attention: true\n", "flash_attention", "warns", {"attn_implementation": "flash_attention_2"}),
        ("sdp_attention: true\n", "sdp_attention", "warns", {"attn_implementation": "sdpa"}),
        ("max_packed_sequence_len: 2048\n", "max_packed_sequence_len", "rejects", {}),
        ("rpo_alpha: 0\n", "rpo_alpha", "rejects", {}),
        ("s2_attention: true\n", "s2_attention", "rejects", {}),
        (
            "gradient_checkpointing: offload_disk\n",
            "gradient_checkpointing",
            "warns",
            {"gradient_checkpointing": True, "activation_offloading": "disk"},
        ),
        (
            "batch_size: 8\nmicro_batch_size: 2\n",
            "batch_size",
            "changes",
            {"micro_batch_size": 2, "gradient_accumulation_steps": 4},
        ),
    ],
)
def test_an_old_spelling_is_named_and_its_fix_writes_the_new_one(
    text: str, key: str, outcome: str, mended: dict[str, Any]
) -> None:
    finding = found(text, key)
    assert finding.outcome == outcome
    assert finding.severity == ("error" if outcome == "rejects" else "warning" if outcome != "warns" else "note")
    assert finding.message.endswith(".")
    result = with_fix(START + text, finding.fix)
    assert yaml.safe_load(result) == {**yaml.safe_load(START), **mended}
    assert result.startswith(START)


@pytest.mark.parametrize(
    "text",
    [
        "max_packed_sequence_len:\n",
        "s2_attention: false\n",
        "dataset_processes:\n",
        "flash_attention: false\n",
        "gradient_checkpointing: true\n",
    ],
)
def test_an_old_key_without_a_value_is_not_worth_a_word(text: str) -> None:
    assert import_axolotl(START + text).findings == ()


def test_old_and_new_key_together_are_told_apart_by_what_axolotl_does() -> None:
    both = "noisy_embedding_alpha: 5\nneftune_noise_alpha: 4\n"
    assert found(both, "noisy_embedding_alpha").outcome == "rejects"
    assert found("dataset_processes: 4\ndataset_num_proc: 2\n", "dataset_processes").outcome == "drops"


def test_names_inside_fsdp_config_lose_their_prefix() -> None:
    finding = found(
        "fsdp_config: {fsdp_offload_params: true, reshard_after_forward: true}\n", "fsdp_config.fsdp_offload_params"
    )
    mended = yaml.safe_load(with_fix(START + "fsdp_config:\n  fsdp_offload_params: true\n  a: 1\n", finding.fix))
    assert mended["fsdp_config"] == {"offload_params": True, "a": 1}


def test_several_attention_flags_are_read_in_axolotls_order() -> None:
    text = "eager_attention: true\nxformers_attention: true\n"
    assert import_axolotl(START + text).recipe.attention == "xformers"
    finding = found(text, "xformers_attention")
    assert yaml.safe_load(with_fix(START + text, finding.fix))["attn_implementation"] == "xformers"
    assert found(text, "eager_attention").outcome == "drops"


def test_a_batch_size_counts_only_beside_empty_accumulation_steps() -> None:
    assert import_axolotl(START + "batch_size: 8\nmicro_batch_size: 2\n").recipe.gradient_accumulation_steps == 1
    empty = START + "batch_size: 8\nmicro_batch_size: 2\ngradient_accumulation_steps:\n"
    assert import_axolotl(empty).recipe.gradient_accumulation_steps == 4
