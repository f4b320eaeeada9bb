"""A Hub id is one request for one small file; whatever stands in the way is one sentence, and a fast one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest

from lora_explorer.base_models import Access, find_base_model, hub
from lora_explorer.errors import UnknownBaseModel

CONFIG = json.dumps(
    {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 32, "num_attention_heads": 2}
).encode()
TOO_LARGE = b'{"a": "' + b"x" * (2 << 20) + b'"}'
FILES = {"owner/found": CONFIG, "owner/large": TOO_LARGE, "owner/broken": b"<html>"}
# What the Hub answers, as huggingface_hub reads it: a status and the header X-Error-Code.
ERRORS = {
    "owner/missing": (404, "RepoNotFound"),
    "owner/no-config": (404, "EntryNotFound"),
    "owner/gated": (403, "GatedRepo"),
    "owner/failing": (500, ""),
}


class Answers(BaseHTTPRequestHandler):
    """A Hub of a few repositories that notes what it is asked for."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.asked.append(self.path)
        repository = self.path.strip("/").partition("/resolve/")[0]
        status, code = ERRORS.get(repository, (200, ""))
        body = FILES.get(repository, b"")
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1234"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Hub on this machine; the paths it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    point_to(f"http://127.0.0.1:{server.server_port}", tmp_path, monkeypatch)
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


def test_a_hub_id_is_found_and_only_its_config_is_asked_for(asked: list[str]) -> None:
    found = find_base_model("owner/found")
    assert (found.origin, json.loads(found.config_json)) == ("hub", json.loads(CONFIG))
    assert {path for path in asked if "owner" in path} == {"/owner/found/resolve/main/config.json"}


def test_a_config_is_asked_for_once(asked: list[str]) -> None:
    find_base_model("owner/found")
    before = len(asked)
    find_base_model("owner/found")
    assert len(asked) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("owner/missing", "not on the Hub"),
        ("owner/no-config", "no config.json"),
        ("owner/gated", "is gated"),
        ("owner/large", "too large"),
        ("owner/broken", "not valid JSON"),
        ("owner/failing", "cannot be reached"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_what_stands_in_the_way_is_one_sentence_at_the_base_model(name: str, reason: str) -> None:
    with pytest.raises(UnknownBaseModel, match=reason) as refused:
        find_base_model(name)
    [finding] = refused.value.findings
    assert finding.setting == "base_model"
    assert "\n" not in finding.message
    assert finding.message.endswith(".")


def test_a_file_that_is_too_large_is_not_downloaded(asked: list[str], tmp_path: Path) -> None:
    with pytest.raises(UnknownBaseModel):
        find_base_model("owner/large")
    assert asked
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > len(CONFIG)]


def test_a_failure_is_not_asked_for_again_at_once(asked: list[str]) -> None:
    for _ in range(3):
        with pytest.raises(UnknownBaseModel):
            find_base_model("owner/missing")
    assert len([path for path in asked if "owner" in path]) == 1


def test_without_a_network_the_sentence_comes_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    started = time.perf_counter()
    with pytest.raises(UnknownBaseModel, match="choose a preset, a folder, or upload a config"):
        find_base_model("owner/found")
    assert time.perf_counter() - started < 2


def test_a_hub_that_is_switched_off_is_not_asked(asked: list[str]) -> None:
    with pytest.raises(UnknownBaseModel, match="switched off"):
        find_base_model("owner/found", Access(hub=False))
    assert asked == []
