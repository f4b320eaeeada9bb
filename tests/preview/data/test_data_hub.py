"""A data set of the Hub is streamed; whatever stands in the way is one sentence, and a fast one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import datasets
import huggingface_hub.constants
import huggingface_hub.file_download
import huggingface_hub.hf_api
import pytest
from huggingface_hub import HfFileSystem

from lora_explorer.base_models import Access
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.data import load_rows
from lora_explorer.preview.data.rows import MOST_ROWS
from lora_explorer.preview.request import DataChoice

COMMIT = "0" * 40
ROW = b'{"instruction": "a", "output": "b"}\n'
FILES = {"owner/found": ROW * 30, "owner/long": ROW * (MOST_ROWS + 5), "owner/broken": b"{no json\n" * 9}
REPOSITORY = {"sha": COMMIT, "siblings": [{"rfilename": "train.jsonl"}], "tags": [], "private": False}


class Answers(BaseHTTPRequestHandler):
    """A Hub of a few data sets, each of one file, that notes how many bytes it gave away."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").removeprefix("api/").split("/")
        name = "/".join(parts[1:3])
        if name not in FILES and name != "owner/gated":
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if "resolve" not in parts:
            entries = [{"type": "file", "path": "train.jsonl", "size": len(FILES.get(name, b"")), "oid": "1"}]
            record = entries if "tree" in parts else {"id": name, **REPOSITORY}
            return self._send(200, json.dumps(record).encode())
        if name == "owner/gated":
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        if parts[-1] != "train.jsonl":
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self._send(200, FILES[name], {"ETag": '"1"', "X-Repo-Commit": COMMIT})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
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
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", cache / "modules")
    HfFileSystem.clear_instance_cache()


def hub_choice(name: str, split: str = "train", config: str | None = None) -> DataChoice:
    return DataChoice(origin="hub", name=name, split=split, config=config)


@pytest.mark.usefixtures("asked")
def test_the_rows_of_a_data_set_are_read_and_their_type_is_told() -> None:
    rows = load_rows(hub_choice("owner/found"))
    assert (len(rows.records), rows.choice.type, rows.notes) == (30, "alpaca", ())
    assert rows.records[0] == {"instruction": "a", "output": "b"}


@pytest.mark.usefixtures("asked")
def test_of_a_long_data_set_the_first_rows_are_used_with_a_note() -> None:
    rows = load_rows(hub_choice("owner/long"))
    assert len(rows.records) == MOST_ROWS
    assert rows.notes == ("Only the first 10,000 rows of owner/long are used.",)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (hub_choice("owner/missing"), "is not on the Hub as a data set"),
        (hub_choice("owner/gated"), "is gated"),
        (hub_choice("owner/found", split="tset"), "has no split 'tset'; it has train"),
        (hub_choice("owner/found", config="large"), "has no configuration 'large'; it has default"),
        (hub_choice("owner/broken"), "cannot be read as one table"),
        (hub_choice("json"), "those are called owner/name"),
        (hub_choice("../owner/found"), "those are called owner/name"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_what_stands_in_the_way_is_one_sentence_at_the_data(choice: DataChoice, reason: str) -> None:
    with pytest.raises(PreviewRefused, match=reason) as refused:
        load_rows(choice)
    [finding] = refused.value.findings
    assert finding.setting == "datasets"
    assert "\n" not in finding.message
    assert finding.message.endswith(".")


def test_without_a_network_the_sentence_comes_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    started = time.perf_counter()
    with pytest.raises(PreviewRefused, match="choose a built-in data set or upload a file"):
        load_rows(hub_choice("owner/found"))
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("access", [Access(hub=False), Access(folders=False)])
def test_a_hub_that_is_switched_off_is_not_asked(access: Access, asked: list[str]) -> None:
    with pytest.raises(PreviewRefused, match="switched off"):
        load_rows(hub_choice("owner/found"), access=access)
    assert asked == []
