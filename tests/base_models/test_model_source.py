"""A config.json comes from a preset, a file, a folder or the Hub; one that is no model is refused in one sentence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.base_models import Access, BaseModel, base_model_from_config, find_base_model
from lora_explorer.base_models.skeleton import build_on_meta, load_skeleton, model_config, with_layers
from lora_explorer.errors import UnknownBaseModel

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}


def nested(depth: int) -> str:
    return '{"model_type": "llama", "a": ' + "[" * depth + "]" * depth + "}"


def changed(**facts: Any) -> str:
    return json.dumps({**LLAMA, **facts})


def without(*names: str) -> str:
    return json.dumps({name: value for name, value in LLAMA.items() if name not in names})


BAD_CONFIGS = {
    "not JSON": ("{", "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "a list": ("[]", "one JSON object"),
    "a number": ("7", "one JSON object"),
    "no model_type": (without("model_type"), "model_type"),
    "a model_type that is a number": (changed(model_type=3), "model_type"),
    "an unknown model_type": (changed(model_type="llamma"), "llamma"),
    "a model that sees and nothing else": (json.dumps({"model_type": "vit"}), "not a causal language model"),
    "a masked language model": (changed(model_type="bert", architectures=["BertForMaskedLM"]), "BertForMaskedLM"),
    "a million layers": (changed(num_hidden_layers=1_000_000), "num_hidden_layers = 1,000,000"),
    "a million layers inside": (changed(text_config={"num_hidden_layers": 10**6}), "num_hidden_layers = 1,000,000"),
    "a million heads": (changed(num_attention_heads=10**6), "num_attention_heads"),
    "a million experts": (changed(model_type="mixtral", num_local_experts=10**6), "num_local_experts"),
    "a huge width": (changed(hidden_size=10**12), "hidden_size"),
    "a huge vocabulary": (changed(vocab_size=10**15), "vocab_size"),
    "a long list": (changed(layer_types=[1] * 100_000), "layer_types"),
    "missing sizes": (without("hidden_size", "vocab_size"), "hidden_size and vocab_size"),
    "missing layers": (without("num_hidden_layers"), "num_hidden_layers"),
    "layers as text": (changed(num_hidden_layers="four"), "num_hidden_layers"),
    "no layers": (changed(num_hidden_layers=-1), "at least one layer"),
    "heads that are zero": (changed(num_attention_heads=0), ""),
    "a width that is zero": (changed(hidden_size=0), ""),
    "nested too deep": (nested(40), "nested too deeply"),
    "nested beyond recursion": (nested(100_000), ""),
    "larger than a config is": (changed(padding="x" * (1 << 20)), "larger than"),
}


@pytest.mark.parametrize(("text", "part"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_a_bad_config_is_refused_in_one_sentence_at_the_base_model(text: str, part: str) -> None:
    with pytest.raises(UnknownBaseModel) as refused:
        load_skeleton(base_model_from_config(text))
    [finding] = refused.value.findings
    assert finding.setting == "base_model"
    assert part in finding.message
    assert finding.message.endswith(".")
    assert "\n" not in finding.message
    assert len(finding.message) < 500


def test_equal_architectures_are_equal_however_they_are_written() -> None:
    backwards = dict(reversed(LLAMA.items()))
    written = [
        base_model_from_config(json.dumps(facts, indent=indent)) for facts, indent in [(LLAMA, 2), (backwards, 0)]
    ]
    assert written[0].config_json == written[1].config_json
    assert load_skeleton(written[0]) is load_skeleton(written[1])


def test_remote_code_and_quantization_are_left_out() -> None:
    foreign = changed(auto_map={"AutoModel": "evil.Model"}, quantization_config={"load_in_4bit": True})
    assert base_model_from_config(foreign).config_json == base_model_from_config(changed()).config_json


def test_an_infinite_bound_as_transformers_writes_it_is_read() -> None:
    mamba = {"model_type": "mamba2", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 32, "num_heads": 2}
    config = model_config(
        base_model_from_config(json.dumps({**mamba, "time_step_limit": [0.0, {"__float__": "Infinity"}]}))
    )
    assert list(config.time_step_limit) == [0.0, float("inf")]


@pytest.mark.parametrize("key", ["vocab_size_per_layer_input", "moe_shared_expert_intermediate_size"])
def test_a_width_is_bounded_as_a_width_whatever_else_its_name_says(key: str) -> None:
    assert base_model_from_config(changed(**{key: 262_144})).config_json


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(changed(), encoding="utf-8")
    found = find_base_model(str(tmp_path))
    assert (found.origin, found.config_json) == ("folder", base_model_from_config(changed()).config_json)


@pytest.mark.parametrize("written", ["/etc", "./models/mine", "../x", "~/models", "C:\\models"])
def test_no_folder_is_looked_at_on_a_public_page(written: str) -> None:
    with pytest.raises(UnknownBaseModel, match="upload the config"):
        find_base_model(written, Access(folders=False))


def test_a_relative_folder_is_not_looked_at_on_a_public_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(changed(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownBaseModel):
        find_base_model("owner/name", Access(hub=False, folders=False))


def test_a_folder_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownBaseModel, match="There is no config"):
        find_base_model(str(tmp_path))


@pytest.mark.parametrize("name", [None, "", "   "])
def test_an_empty_name_asks_for_a_base_model(name: str | None) -> None:
    with pytest.raises(UnknownBaseModel, match="Choose a base model"):
        find_base_model(name)


@pytest.mark.parametrize("name", ["llama", "a/b/c", "owner/../name", "owner/na me", "http://x/y", "owner/", "é/ü"])
def test_what_is_no_hub_id_is_never_asked_for(name: str) -> None:
    with pytest.raises(UnknownBaseModel, match="neither a preset nor a Hub id"):
        find_base_model(name)


def test_a_skeleton_is_built_once_for_each_architecture() -> None:
    first = base_model_from_config(changed(), "one name")
    second = base_model_from_config(changed(), "another name")
    assert load_skeleton(first) is load_skeleton(second)
    assert load_skeleton(base_model_from_config(changed(num_hidden_layers=3))) is not load_skeleton(first)


def test_a_skeleton_knows_its_layers() -> None:
    skeleton = load_skeleton(base_model_from_config(changed()))
    assert skeleton.layer_paths == tuple(f"model.layers.{index}" for index in range(4))
    assert skeleton.layer_of("model.layers.3.mlp.up_proj") == 3
    assert skeleton.layer_of("model.layers") is None
    assert skeleton.layer_of("model.embed_tokens") is None


def test_a_skeleton_takes_no_memory_and_is_not_trained() -> None:
    parameters = list(load_skeleton(base_model_from_config(changed())).model.parameters())
    assert {parameter.device.type for parameter in parameters} == {"meta"}
    assert not any(parameter.requires_grad for parameter in parameters)


def test_a_large_architecture_is_a_skeleton_in_seconds() -> None:
    started = time.perf_counter()
    wide = changed(hidden_size=32_768, intermediate_size=131_072, num_hidden_layers=200, num_attention_heads=128)
    assert load_skeleton(base_model_from_config(wide)).num_layers == 200
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("preset", "count"), [("google/gemma-3-4b-it", 2), ("openai/gpt-oss-20b", 3), ("Qwen/Qwen2.5-0.5B", 5)]
)
def test_fewer_layers_keep_the_first_ones(preset: str, count: int) -> None:
    base_model = find_base_model(preset)
    full, cut = load_skeleton(base_model), build_on_meta(with_layers(model_config(base_model), count))
    last = full.layer_paths[count - 1]
    kept = {name: p.shape for name, p in full.model.named_parameters() if layer_in(full, name, count)}
    assert {name: p.shape for name, p in cut.named_parameters()} == kept
    assert any(name.startswith(f"{last}.") for name in kept)
    types = getattr(cut.config.get_text_config(), "layer_types", None)
    assert types is None or types == full.config.get_text_config().layer_types[:count]


def layer_in(skeleton: Any, name: str, count: int) -> bool:
    layer = skeleton.layer_of(name)
    return layer is None or layer < count


def test_a_config_is_not_changed_by_cutting_a_copy() -> None:
    config = model_config(find_base_model("openai/gpt-oss-20b"))
    before = config.to_dict()
    with_layers(config, 1)
    assert config.to_dict() == before


def test_a_preset_says_its_published_total() -> None:
    found: BaseModel = find_base_model("  META-LLAMA/meta-llama-3-8b ")
    assert (found.origin, found.total_params) == ("preset", 8_030_261_248)


def test_many_layers_of_many_experts_are_refused_before_they_are_built() -> None:
    config = {"model_type": "jamba", "num_hidden_layers": 1000, "num_experts": 1000}
    with pytest.raises(UnknownBaseModel, match="1,000 layers of 1,000 experts"):
        base_model_from_config(json.dumps(config))


def test_a_public_page_does_not_tell_whether_a_folder_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    sentences = []
    for name in ("there", "gone"):
        with pytest.raises(UnknownBaseModel) as refusal:
            find_base_model(name, Access(folders=False))
        sentences.append(str(refusal.value).replace(name, "…"))
    assert sentences[0] == sentences[1]
