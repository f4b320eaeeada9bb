"""What a worker tells of how it ended, and that it holds its own limits, with no app beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lora_explorer.preview.events import Finished, Log, Stopped
from lora_explorer.preview.request import PreviewRequest
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.preview.supervision.ending import RESERVE_BYTES
from lora_explorer.preview.supervision.process import Worker, find_worker, stop_worker

from ..runs import failure, is_over, kinds, last_event, request, starting, steps_told, wait_until
from ..stand_in import STEPS_BEFORE

BEFORE = list(range(1, STEPS_BEFORE + 1))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))


def started(conduct: str, asked: PreviewRequest | None = None) -> tuple[RunFolder, Worker]:
    folder = create_run(asked or request())
    return folder, starting(conduct)(folder)


def seconds_until_gone(worker: Worker) -> float:
    return wait_until(worker.has_ended)


def seconds_to_tell(folder: RunFolder) -> float:
    """From when the stand-in began to misbehave until the end was told."""
    return last_event(folder).at - float(folder.read("told"))


def test_a_run_tells_its_steps_and_that_it_finished() -> None:
    folder, worker = started("train_all")
    seconds_until_gone(worker)
    assert worker.status == 0
    assert kinds(folder) == ["started", *["step"] * 5, "finished"]
    event = last_event(folder)
    assert isinstance(event, Finished)
    assert event.steps == 5
    assert 0 < event.seconds < 10


@pytest.mark.parametrize(
    ("conduct", "limits", "says", "setting"),
    [
        ("raise_in_step", {}, "ValueError: shapes (3, 4) and (5, 6) do not match", ""),
        ("diverge", {}, "not a number", "learning_rate"),
        ("grow", {"memory_bytes": 300 << 20}, "Memory ran out after 3 steps", "micro_batch_size"),
        ("grow_tensors", {"memory_bytes": 700 << 20}, "Memory ran out after 3 steps", "micro_batch_size"),
        ("fill_disk", {"file_bytes": 200_000}, "outgrew what is allowed", "lora_r"),
        ("tell_forever", {"file_bytes": 200_000}, "outgrew what is allowed", "lora_r"),
        ("hang_in_python", {"wall_clock_seconds": 1.0}, "time limit of 1 seconds after 3 steps", "steps"),
    ],
)
def test_why_a_run_ended_is_told_within_two_seconds_with_what_to_change_and_its_steps_are_kept(
    conduct: str, limits: dict[str, float], says: str, setting: str
) -> None:
    folder, worker = started(conduct, request(**limits))
    seconds_until_gone(worker)
    told = failure(folder)
    assert says in told.message
    assert told.message.endswith(".")
    assert told.suggestion.endswith(".")
    assert told.setting == setting
    assert "/root" not in told.message
    assert steps_told(folder) == BEFORE
    if conduct != "grow_tensors":  # which loads PyTorch first
        assert seconds_to_tell(folder) < 2


def test_where_an_unknown_exception_came_from_is_in_the_log_without_a_folder_of_this_machine() -> None:
    folder, worker = started("raise_in_step")
    seconds_until_gone(worker)
    assert kinds(folder)[-2:] == ["log", "failed"]
    [message] = [event.message for event in folder.events()[0] if isinstance(event, Log)]
    assert re.search(r"^stand_in\.py:\d+ in raise_in_step: raise ValueError", message, re.M)
    assert str(Path(__file__).parents[3]) not in message


def test_a_run_that_heeds_its_time_limit_keeps_what_it_did() -> None:
    folder, worker = started("train_long", request(wall_clock_seconds=0.5))
    seconds_until_gone(worker)
    assert "time limit" in failure(folder).message
    assert steps_told(folder)
    assert worker.status == 0


def test_a_worker_that_hangs_in_native_code_is_ended_by_the_system_at_its_time_limit() -> None:
    folder, worker = started("hang", request(wall_clock_seconds=0.5))
    assert seconds_until_gone(worker) < 12
    assert worker.status == -signal.SIGALRM
    assert steps_told(folder) == BEFORE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("file systems can only be mounted by root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("conduct", ["fill_disk", "tell_forever"])
def test_a_full_disk_is_told_on_that_very_disk(conduct: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(small_disk))
    folder, worker = started(conduct)
    seconds_until_gone(worker)
    told = failure(folder)
    assert "The disk was full" in told.message
    assert "history" in told.suggestion
    assert steps_told(folder) == BEFORE
    assert seconds_to_tell(folder) < 2


def test_the_reserve_is_given_back() -> None:
    folder, worker = started("train_all")
    seconds_until_gone(worker)
    assert max(file.stat().st_size for file in folder.path.iterdir()) < RESERVE_BYTES


def test_a_stop_is_heeded_and_told() -> None:
    folder, worker = started("train_long")
    wait_until(lambda: len(steps_told(folder)) > 2)
    began = time.monotonic()
    stop_worker(folder)
    assert time.monotonic() - began < 2
    assert last_event(folder) == Stopped(steps=steps_told(folder)[-1], kept_steps=0, at=last_event(folder).at)
    assert worker.has_ended()
    assert not psutil.pid_exists(worker.pid)


def test_a_worker_whose_step_takes_too_long_tells_its_stop_all_the_same() -> None:
    folder, worker = started("hang_in_python")
    wait_until(lambda: folder.read("told"))
    os.kill(worker.pid, signal.SIGTERM)
    assert seconds_until_gone(worker) < 2
    assert isinstance(last_event(folder), Stopped)
    assert steps_told(folder) == BEFORE


def test_a_worker_that_ignores_its_stop_is_killed_within_two_seconds_with_its_children() -> None:
    folder, worker = started("hang_with_children")
    wait_until(lambda: folder.read("told"))
    children = [psutil.Process(pid) for pid in wait_for(folder, "children")]
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 2
    assert worker.status == -signal.SIGKILL
    wait_until(lambda: not any(is_alive(each) for each in children), 1)


def test_children_that_a_finished_worker_left_are_ended() -> None:
    folder, worker = started("leave_children")
    seconds_until_gone(worker)
    [child] = folder.read("children")
    wait_until(lambda: not psutil.pid_exists(child) or not is_alive(psutil.Process(child)), 2)
    assert is_over(folder)


def test_threads_that_go_on_do_not_keep_a_finished_worker() -> None:
    folder, worker = started("leave_threads")
    assert seconds_until_gone(worker) < 10
    assert isinstance(last_event(folder), Finished)


def test_a_worker_outlives_the_process_that_started_it() -> None:
    folder = create_run(request())
    script = (
        "import sys; from pathlib import Path; from tests.preview.runs import starting; "
        "from lora_explorer.preview.run_folder import RunFolder; "
        "starting('train_long')(RunFolder(Path(sys.argv[1]))); sys.stdin.read()"
    )
    root = Path(__file__).parents[3]
    app = subprocess.Popen([sys.executable, "-c", script, str(folder.path)], stdin=subprocess.PIPE, cwd=root)
    wait_until(lambda: steps_told(folder))
    app.kill()
    app.communicate()
    told = len(steps_told(folder))
    wait_until(lambda: len(steps_told(folder)) > told + 10)
    found = find_worker(folder)
    assert found is not None
    found.stop()
    assert isinstance(last_event(folder), Stopped)
    assert find_worker(folder) is None


def test_another_process_of_the_same_number_is_not_mistaken_for_the_worker() -> None:
    folder = create_run(request())
    folder.write("worker", {"pid": os.getpid(), "started": psutil.Process().create_time() - 3600})
    assert find_worker(folder) is None
    stop_worker(folder)


def wait_for(folder: RunFolder, name: str) -> list[int]:
    wait_until(lambda: folder.read(name))
    return list(folder.read(name))


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
