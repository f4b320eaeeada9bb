"""A worker that waits with its libraries loaded: sooner than a new one, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lora_explorer.preview.run_folder import HOME_VARIABLE, create_run
from lora_explorer.preview.supervision import standby as waiting
from lora_explorer.preview.supervision.process import COMMAND, find_worker, worker_environment
from lora_explorer.preview.supervision.standby import Standby

from ..runs import is_over, kinds, wait_until
from ..tiny_training import request_for, tiny_llama

LOADED_SECONDS = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot wait on a pipe")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


@pytest.fixture
def standby() -> Iterator[Standby]:
    standby = Standby()
    yield standby
    standby.close()


def workers() -> set[int]:
    """Processes that this one started to wait or train; a page served for other tests has workers of its own."""
    alive = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
    return {child.pid for child in alive if child.cmdline()[: len(COMMAND)] == [*COMMAND]}


def test_a_run_is_trained_by_the_worker_that_waited_and_tells_what_any_other_tells(
    standby: Standby, tmp_path: Path
) -> None:
    before = workers()
    standby.prepare()
    standby.prepare()
    (waited,) = workers() - before
    request = request_for(tiny_llama(tmp_path), steps=2, samples=0)
    stories = []
    for _ in range(2):
        folder = create_run(request)
        worker = standby(folder)
        stories.append((worker.pid == waited, worker.seconds < 5))
        wait_until(worker.has_ended, LOADED_SECONDS)
        assert is_over(folder)
        assert "Loading weights" in folder.log.read_text(encoding="utf-8")
        stories.append(kinds(folder))
    assert (stories[0], stories[2]) == ((True, True), (False, True))
    assert stories[1] == stories[3]
    assert "finished" in stories[1]
    assert workers() == before


def test_one_that_waits_is_gone_when_it_is_closed(standby: Standby) -> None:
    before = workers()
    standby.prepare()
    assert workers() != before
    standby.close()
    assert workers() == before


def test_one_that_died_while_it_waited_is_replaced(standby: Standby, tmp_path: Path) -> None:
    before = workers()
    standby.prepare()
    (waited,) = workers() - before
    psutil.Process(waited).kill()
    folder = create_run(request_for(tiny_llama(tmp_path), steps=1, samples=0))
    worker = standby(folder)
    assert worker.pid != waited
    wait_until(worker.has_ended, LOADED_SECONDS)
    assert "finished" in kinds(folder)


def test_one_that_waited_for_too_long_is_not_asked(
    standby: Standby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = workers()
    standby.prepare()
    (waited,) = workers() - before
    monkeypatch.setattr(waiting, "_FORGET_SECONDS", 0.0)
    worker = standby(create_run(request_for(tiny_llama(tmp_path), steps=1, samples=0)))
    assert worker.pid != waited
    assert not psutil.pid_exists(waited)
    worker.stop(0)


def test_none_waits_where_memory_is_short(standby: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workers()
    monkeypatch.setattr(waiting, "_SPARE_BYTES", 1 << 60)
    standby.prepare()
    assert workers() == before


def test_one_that_waits_ends_with_the_app_that_started_it(tmp_path: Path) -> None:
    app = (
        "from lora_explorer.preview.supervision.standby import Standby; import os, psutil; s = Standby(); s.prepare();"
        "print(psutil.Process().children()[0].pid, flush=True); os._exit(0)"
    )
    told = subprocess.run(
        [sys.executable, "-c", app], env=worker_environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    waited = int(told.stdout)
    wait_until(lambda: not psutil.pid_exists(waited) or _is_zombie(waited), LOADED_SECONDS)


def test_a_run_s_time_counts_from_when_it_was_asked_for(standby: Standby, tmp_path: Path) -> None:
    standby.prepare()
    time.sleep(1.5)
    folder = create_run(request_for(tiny_llama(tmp_path), steps=1, samples=0))
    worker = standby(folder)
    found = find_worker(folder)
    assert found is not None
    assert (worker.seconds < 1.0, found.seconds < 1.0) == (True, True)
    worker.stop(0)


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
