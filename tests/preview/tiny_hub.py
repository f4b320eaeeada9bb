"""A Hub of this machine's own, and small models to put on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lora_explorer.base_models import hub
from lora_explorer.preview.models.stand_in_tokenizer import stand_in_tokenizer

COMMIT = "0" * 40
# What the Hub answers for these, as huggingface_hub reads it: a status and the header X-Error-Code.
ERRORS = {"owner/missing": (404, "RepoNotFound"), "owner/failing": (500, ""), "owner/gated": (403, "GatedRepo")}


def save_tiny_llama(folder: Path, *, layers: int = 2, seed: int = 0, tokenizer: bool = True) -> LlamaForCausalLM:
    """A llama of width 64 with 300 tokens, saved as transformers saves one."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": layers, "vocab_size": 300}
    model = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes))
    model.save_pretrained(folder)
    if tokenizer:
        stand_in_tokenizer(300).save_pretrained(folder)
    return model


class TinyHub:
    """Repositories by id, each a folder; `asked` has every path that was asked for."""

    def __init__(self, repositories: Mapping[str, Path]) -> None:
        self.asked: list[str] = []
        self.gated: set[str] = {"owner/gated"}
        self._repositories = dict(repositories)

    def listing(self, repository: str, *, as_tree: bool) -> bytes:
        """The files of a repository in one of the two forms that huggingface_hub asks for."""
        folder = self._repositories.get(repository)
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())} if folder else {}
        if as_tree:
            return json.dumps(
                [{"type": "file", "path": name, "size": size, "oid": COMMIT} for name, size in sizes.items()]
            ).encode()
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        return json.dumps(
            {"id": repository, "sha": COMMIT, "gated": repository in self.gated, "siblings": siblings}
        ).encode()

    def file(self, repository: str, name: str) -> bytes | None:
        file = self._repositories.get(repository, Path("/nowhere")) / name
        return file.read_bytes() if file.is_file() else None

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, error code and body."""
        self.asked.append(path)
        is_listing = path.startswith("/api/models/")
        parts = path.partition("?")[0].removeprefix("/api/models").strip("/").split("/")
        repository = "/".join(parts[:2])
        if repository in ERRORS and not (is_listing and repository in self.gated):
            return *ERRORS[repository], b""
        body = (
            self.listing(repository, as_tree="tree" in parts)
            if is_listing
            else self.file(repository, "/".join(parts[4:]))
        )
        return (200, "", body) if body is not None else (404, "EntryNotFound", b"")


@contextmanager
def serving(tiny_hub: TinyHub) -> Iterator[str]:
    """The address of a Hub while it is served."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            status, code, body = tiny_hub.answer(self.path)
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", f'"{abs(hash(body)):x}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def point_to(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub ask this address and keep what it gets in this folder."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_texts", {})
    monkeypatch.setattr(hub, "_failures", {})
