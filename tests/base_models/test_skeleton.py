"""Cutting a config to fewer layers, and a skeleton without a tensor on the host."""

from __future__ import annotations

import pytest
from transformers import CONFIG_MAPPING, PreTrainedConfig

from lora_explorer.base_models.skeleton import build_on_meta, with_layers
from lora_explorer.errors import UnknownBaseModel


def gemma_4() -> object:
    return CONFIG_MAPPING["gemma4_text"](
        hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, vocab_size=128, vocab_size_per_layer_input=128, hidden_size_per_layer_input=8,
        layer_types=["sliding_attention", "full_attention"] * 3,
        per_layer_config={"1": {"head_dim": 32}, "3": {"head_dim": 32}, "5": {"head_dim": 32}},
    )  # fmt: skip


def test_what_single_layers_have_otherwise_is_cut_with_them() -> None:
    config = gemma_4()
    full, cut = build_on_meta(config), build_on_meta(with_layers(config, 2))
    widths = [[layer.self_attn.q_proj.out_features for layer in model.model.layers] for model in (full, cut)]
    assert widths == [[64, 128] * 3, [64, 128]]
    assert config.per_layer_config[5].head_dim == 32


def test_decoder_layers_are_cut_where_the_model_also_has_an_encoder() -> None:
    model = build_on_meta(with_layers(CONFIG_MAPPING["bart"](), 2))
    assert len(model.model.decoder.layers) == 2


def test_a_config_without_a_number_of_layers_is_refused_in_a_sentence() -> None:
    with pytest.raises(UnknownBaseModel, match="does not say how many layers"):
        with_layers(PreTrainedConfig(), 2)


def test_no_tensor_of_a_skeleton_is_on_the_host() -> None:
    model = build_on_meta(with_layers(CONFIG_MAPPING["xlnet"](), 1))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
