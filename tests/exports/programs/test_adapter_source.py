"""An adapter_config.json is found in a file, in a folder, or on the Hub, and counted from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
from typer.testing import CliRunner, Result

from lora_explorer.base_models import Access, hub
from lora_explorer.cli import app
from lora_explorer.errors import UnknownAdapter
from lora_explorer.exports.peft import find_adapter_config

ADAPTER = {
    "peft_type": "LORA",
    "base_model_name_or_path": "openai-community/gpt2",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["c_attn"],
    "fan_in_fan_out": True,
    "inference_mode": True,
}
TRAINED = 12 * 8 * (768 + 2304)
FILES = {"owner/adapter": json.dumps(ADAPTER).encode(), "owner/large": b" " * (1 << 20)}


class Answers(BaseHTTPRequestHandler):
    """A Hub of two adapters that notes what it is asked for."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        body = FILES.get(self.path.strip("/").partition("/resolve/")[0])
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound" if "empty" in self.path else "RepoNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("ETag", '"1234"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(FILES.get(self.path.strip("/").partition("/resolve/")[0], b""))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Hub on this machine; the paths it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    point_to(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache", monkeypatch)
    Answers.asked.clear()
    yield Answers.asked
    server.shutdown()
    server.server_close()


def point_to(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_texts", {})
    monkeypatch.setattr(hub, "_failures", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "my-adapter"
    place.mkdir()
    (place / "adapter_config.json").write_text(json.dumps(ADAPTER), encoding="utf-8")
    return place


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def answer(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_file_a_folder_and_stdin_are_counted_alike(folder: Path) -> None:
    from_file = answer("count", folder / "adapter_config.json")
    assert from_file["trainable_params"] == TRAINED
    assert answer("count", folder) == from_file
    result = run("count", "-", "--json", stdin=json.dumps(ADAPTER))
    assert json.loads(result.stdout) == from_file
    assert "This is a file of PEFT" in result.stderr


def test_a_hub_id_is_asked_for_that_file_alone(asked: list[str]) -> None:
    assert answer("count", "owner/adapter")["trainable_params"] == TRAINED
    assert {path for path in asked if "owner" in path} == {"/owner/adapter/resolve/main/adapter_config.json"}
    before = len(asked)
    find_adapter_config("owner/adapter")
    assert len(asked) == before


def test_another_base_model_can_be_counted_against(folder: Path) -> None:
    medium = answer("count", folder, "--base-model", "openai-community/gpt2-medium")
    assert medium["trainable_params"] == 24 * 8 * (1024 + 3072)


def test_the_other_commands_take_an_adapter_too(folder: Path) -> None:
    assert answer("estimate", folder)["peak_allocated_bytes"] > 0
    assert answer("compare", folder, folder)[0]["trainable_params"] == TRAINED
    assert run("check", folder).exit_code == 0
    axolotl = run("export", folder, "--to", "axolotl")
    assert "lora_r: 8\n" in axolotl.stdout
    assert json.loads(run("export", folder, "--to", "peft").stdout)["target_modules"] == ["c_attn"]


def test_a_file_is_written_with_what_is_unsaid_on_stderr(folder: Path, tmp_path: Path) -> None:
    result = run("export", folder, "--to", "mlx-lm", "--output", tmp_path / "out.yml")
    assert result.exit_code == 0
    assert "does not clip gradients" in result.stderr
    text = (tmp_path / "out.yml").read_text(encoding="utf-8")
    assert "# MLX-LM does not clip gradients" in text
    assert "attn.c_attn" in text


def test_without_its_base_model_a_file_is_still_written(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yml"
    config.write_text("base_model: ./nowhere\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_linear: true\n")
    result = run("export", config, "--to", "trl")
    assert result.exit_code == 0
    assert "lora_target_modules: all-linear" in result.stdout
    assert "There is no config.json in the folder ./nowhere." in result.stderr
    assert run("export", config, "--to", "peft").exit_code == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("owner/missing", "not on the Hub"),
        ("owner/empty", "has no adapter_config.json"),
        ("owner/large", "an adapter_config.json that is too large"),
        ("nothing here", "neither a file nor a folder"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_what_stands_in_the_way_is_one_sentence(source: str, reason: str) -> None:
    with pytest.raises(UnknownAdapter, match=reason) as refused:
        find_adapter_config(source)
    [finding] = refused.value.findings
    assert "\n" not in finding.message
    assert finding.message.endswith(".")


def test_without_a_network_the_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(
        UnknownAdapter, match=r"Hub cannot be reached; name a folder with the adapter, or its adapter_con"
    ):
        find_adapter_config("owner/adapter")


def test_a_visitor_of_a_public_page_reads_no_folder(folder: Path) -> None:
    with pytest.raises(UnknownAdapter, match="neither a file nor a folder"):
        find_adapter_config(str(folder), Access(folders=False))
    with pytest.raises(UnknownAdapter, match="switched off"):
        find_adapter_config("owner/adapter", Access(hub=False, folders=False))


def test_a_folder_without_one_is_a_wrong_call(tmp_path: Path) -> None:
    assert run("count", tmp_path).exit_code == 2
    with pytest.raises(UnknownAdapter, match=r"no adapter_config.json in the folder"):
        find_adapter_config(str(tmp_path))


def test_a_missing_file_is_not_asked_of_the_hub(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("count", "configs/my.yml").exit_code == 2
    assert asked == []


def test_an_unknown_program_is_a_wrong_call(folder: Path) -> None:
    result = run("export", folder, "--to", "abacus")
    assert result.exit_code == 2
    assert "llama-factory" in result.stderr
