"""A real server and a real Chromium, started once for all browser tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
INSTALL = "The browser tests need Chromium: install Debian's package with `apt-get install chromium`, then run again."
START_SECONDS = 60
FIRST_COUNT_MS = 60_000


@dataclass(frozen=True)
class Served:
    """A page's server. pid: of its process."""

    address: str
    pid: int


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page of its own, on a free port, with a home of its own for runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "SPACE_ID"}
    environment["LORA_EXPLORER_HOME"] = str(tmp_path_factory.mktemp("home"))
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment | {"GRADIO_SERVER_PORT": str(port)}
    )
    try:
        yield Served(_when_up(f"http://127.0.0.1:{port}", process), process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def server(served: Served) -> str:
    """The page's address."""
    return served.address


def _when_up(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            pytest.fail("The page's server ended before it answered.")
        try:
            with urllib.request.urlopen(address):
                return address
        except URLError:
            time.sleep(0.1)
    pytest.fail(f"The page's server did not answer within {START_SECONDS} s.")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail(INSTALL)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, and what it did that nobody should see."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self._see(request.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _see(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.elsewhere.append(url)


@pytest.fixture
def watched(chromium: Browser, server: str) -> Iterator[Watched]:
    """The page, opened and counted for the first time; nothing it does may reach beyond this machine or fail."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    watched = Watched(context.new_page())
    watched.page.goto(server)
    watched.page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    yield watched
    context.close()
    assert watched.elsewhere == []
    assert watched.complaints == []


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page
