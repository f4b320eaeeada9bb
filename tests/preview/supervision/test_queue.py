"""One run at a time, a line for the others, and nothing left over."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.events import Finished, Stopped, Waiting
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.preview.supervision.process import find_worker
from lora_explorer.preview.supervision.queue import RunQueue

from ..runs import failure, is_over, kinds, last_event, request, starting, steps_told, wait_until

NewQueue = Callable[[str], RunQueue]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def new_queue(home: Path) -> Iterator[NewQueue]:
    """Queues whose workers behave as they are told; whatever still runs at the end is ended."""
    queues: list[RunQueue] = []

    def new(conduct: str) -> RunQueue:
        queues.append(RunQueue(start=starting(conduct)))
        return queues[-1]

    yield new
    for queue in queues:
        queue.close()
    for path in (home / "runs").glob("*"):
        worker = find_worker(RunFolder(path))
        if worker:
            worker.stop(0)


def test_a_run_is_started_and_finishes(new_queue: NewQueue) -> None:
    queue = new_queue("train_all")
    folder = queue.submit(request())
    wait_until(lambda: is_over(folder))
    assert kinds(folder) == ["stage", "started", *["step"] * 5, "finished"]
    assert queue.place(folder.id) is None


def test_two_press_start_and_one_waits_and_sees_its_place(new_queue: NewQueue) -> None:
    queue = new_queue("train_long")
    first, second, third = (queue.submit(request(), owner) for owner in ("ada", "ben", "cleo"))
    wait_until(lambda: steps_told(first) and kinds(third))
    assert [queue.place(each.id) for each in (first, second, third)] == [None, 1, 2]
    assert [each.status() for each in (first, second, third)] == ["running", "waiting", "waiting"]
    queue.stop(first.id, "ada")
    wait_until(lambda: steps_told(second))
    assert last_event(third) == Waiting(place=1, at=last_event(third).at)
    assert [event.place for event in third.events()[0] if isinstance(event, Waiting)] == [2, 1]
    queue.stop(third.id, "cleo")
    assert last_event(third) == Stopped(steps=0, kept_steps=0, at=last_event(third).at)
    assert second.status() == "running"


def test_only_who_started_a_run_may_stop_extend_or_delete_it(new_queue: NewQueue) -> None:
    queue = new_queue("train_long")
    running, waiting, unowned = (queue.submit(request(), owner) for owner in ("ada", "ben", ""))
    wait_until(lambda: steps_told(running))
    for folder in (running, waiting):
        for change in (queue.stop, queue.delete, lambda run, owner: queue.extend(run, 5, owner)):
            for stranger in ("eve", ""):
                with pytest.raises(PreviewRefused, match="another browser"):
                    change(folder.id, stranger)
    queue.stop(unowned.id, "eve")
    assert unowned.status() == "stopped"
    assert running.status() == "running"
    assert waiting.status() == "waiting"


def test_secrets_of_browsers_are_not_kept(new_queue: NewQueue, home: Path) -> None:
    queue = new_queue("train_all")
    folder = queue.submit(request(), "a browser's secret")
    wait_until(lambda: is_over(folder))
    kept = [file.read_bytes() for file in home.rglob("*") if file.is_file()]
    assert len(kept) > 3
    assert not any(b"a browser's secret" in each for each in kept)


def test_never_do_two_run_at_once_however_many_ask(new_queue: NewQueue) -> None:
    queue = new_queue("train_all")
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: queue.submit(request(3)), range(6)))
    wait_until(lambda: all(map(is_over, folders)))
    assert not overlap(folders)


def test_two_apps_with_one_home_run_one_at_a_time(new_queue: NewQueue) -> None:
    one, other = new_queue("train_all"), new_queue("train_all")
    script = (
        "import sys; from tests.preview.runs import *; from lora_explorer.preview.supervision.queue import RunQueue; "
        "queue = RunQueue(start=starting('train_all')); "
        "folders = [queue.submit(request(3)) for _ in range(2)]; "
        "wait_until(lambda: all(map(is_over, folders))); queue.close()"
    )
    app = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    folders = [queue.submit(request(3)) for _ in range(2) for queue in (one, other)]
    wait_until(lambda: all(map(is_over, folders)))
    assert app.wait(20) == 0
    everyone = [RunFolder(path) for path in folders[0].path.parent.iterdir()]
    assert len(everyone) == 6
    assert all(isinstance(last_event(each), Finished) for each in everyone)
    assert not overlap(everyone)


def test_twenty_runs_one_after_another_leave_nothing_behind(new_queue: NewQueue) -> None:
    queue = new_queue("train_long")
    run_and_stop(queue)
    before = holdings()
    latencies = [run_and_stop(queue) for _ in range(20)]
    assert max(latencies) < 2
    kept = ("processes", "threads", "files")
    # What stopped last may be closing still.
    wait_until(lambda: all(holdings()[name] <= before[name] for name in kept))
    assert holdings()["bytes"] - before["bytes"] < 4 << 20


def test_a_stop_tells_after_which_step_an_extension_would_go_on(new_queue: NewQueue) -> None:
    queue = new_queue("hang")
    folder = queue.submit(request())
    wait_until(lambda: folder.read("told"))
    for number in (1, 2):
        (folder.checkpoints / f"checkpoint-{number}").mkdir(parents=True)
    # Nothing goes on from the second, which was not written to its end.
    (folder.checkpoints / "checkpoint-1" / "trainer_state.json").touch()
    queue.stop(folder.id)
    assert last_event(folder) == Stopped(steps=3, kept_steps=1, at=last_event(folder).at)


@pytest.mark.parametrize("conduct", ["hang", "hang_with_children"])
def test_a_worker_that_cannot_listen_is_stopped_within_two_seconds(conduct: str, new_queue: NewQueue) -> None:
    queue = new_queue(conduct)
    folder, waiting = queue.submit(request()), queue.submit(request())
    wait_until(lambda: folder.read("told"))
    queue.stop(waiting.id)
    children = [psutil.Process(pid) for pid in folder.read("children") or ()]
    began = time.monotonic()
    queue.stop(folder.id)
    assert time.monotonic() - began < 2
    assert last_event(folder) == Stopped(steps=3, kept_steps=0, at=last_event(folder).at)
    assert find_worker(folder) is None
    wait_until(lambda: not any(map(is_alive, children)), 1)


@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGKILL, "was killed after"), (signal.SIGSEGV, "signal 11, SIGSEGV")]
)
def test_a_killed_worker_is_told_within_two_seconds_and_the_next_run_starts_at_once(
    number: signal.Signals, says: str, new_queue: NewQueue
) -> None:
    queue = new_queue("train_long")
    killed, following = queue.submit(request()), queue.submit(request())
    wait_until(lambda: steps_told(killed))
    worker = find_worker(killed)
    assert worker is not None
    os.kill(worker.pid, number)
    before = steps_told(killed)
    assert wait_until(lambda: is_over(killed)) < 2
    told = failure(killed)
    assert says in told.message
    assert told.suggestion
    assert steps_told(killed)[: len(before)] == before
    assert wait_until(lambda: find_worker(following)) < 0.5


def test_a_line_torn_by_death_spoils_no_other(new_queue: NewQueue) -> None:
    queue = new_queue("hang")
    folder = queue.submit(request())
    wait_until(lambda: folder.read("told"))
    with folder.events_file.open("ab") as file:
        file.write(b'{"event": "step", "st')
    queue.stop(folder.id)
    assert isinstance(last_event(folder), Stopped)
    assert steps_told(folder) == [1, 2, 3]


def test_an_extension_goes_on_from_where_it_stopped_and_keeps_the_earlier_events(new_queue: NewQueue) -> None:
    queue = new_queue("train_all")
    folder = queue.submit(request(4), "ada")
    wait_until(lambda: is_over(folder))
    queue.extend(folder.id, 3, "ada")
    wait_until(lambda: isinstance(last_event(folder), Finished) and len(steps_told(folder)) == 7)
    assert steps_told(folder) == [1, 2, 3, 4, 5, 6, 7]
    assert kinds(folder).count("finished") == 2
    assert folder.request().steps == 7


def test_the_death_of_an_extension_is_told_though_the_run_had_finished_before(new_queue: NewQueue) -> None:
    queue = new_queue("train_all")
    folder = queue.submit(request())
    wait_until(lambda: is_over(folder))
    queue.close()
    crashing = new_queue("crash")
    crashing.extend(folder.id, 3)
    wait_until(lambda: folder.status() == "failed")
    assert "SIGSEGV" in failure(folder).message


def test_what_cannot_be_extended_is_refused(new_queue: NewQueue) -> None:
    queue = new_queue("train_long")
    running = queue.submit(request(5, most_steps=100))
    wait_until(lambda: steps_told(running))
    with pytest.raises(PreviewRefused, match="not over"):
        queue.extend(running.id, 5)
    queue.stop(running.id)
    for steps in (0, -1, 1000):
        with pytest.raises(PreviewRefused) as refused:
            queue.extend(running.id, steps)
        assert refused.value.findings[0].setting == "steps"


@pytest.mark.parametrize("steps", [0, -3, 101])
def test_a_number_of_steps_out_of_bounds_is_refused_at_its_place(steps: int, new_queue: NewQueue, home: Path) -> None:
    with pytest.raises(PreviewRefused, match="from 1 to 100 steps") as refused:
        new_queue("train_all").submit(request(steps, most_steps=100))
    assert refused.value.findings[0].setting == "steps"
    assert not (home / "runs").exists()


@pytest.mark.parametrize("run_id", ["", ".", "..", "../..", "nothing", "a/b", "\0"])
def test_what_is_no_run_is_refused(run_id: str, new_queue: NewQueue, home: Path) -> None:
    (home / "runs").mkdir()
    for change in (new_queue("train_all").stop, new_queue("train_all").delete):
        with pytest.raises(PreviewRefused, match="no such run"):
            change(run_id)
    assert (home / "runs").exists()


def test_a_new_start_of_the_app_adopts_what_runs_and_what_waits(new_queue: NewQueue) -> None:
    script = (
        "import sys; from tests.preview.runs import *; from lora_explorer.preview.supervision.queue import RunQueue; "
        "queue = RunQueue(start=starting('train_long')); "
        "folders = [queue.submit(request()) for _ in range(3)]; "
        "wait_until(lambda: steps_told(folders[0])); print(*(each.path for each in folders), flush=True); "
        "sys.stdin.read()"
    )
    app = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert app.stdout is not None
    running, waiting, last = (RunFolder(Path(word)) for word in app.stdout.readline().split())
    app.kill()
    app.communicate()
    queue = new_queue("train_long")
    queue.adopt()
    told = len(steps_told(running))
    wait_until(lambda: len(steps_told(running)) > told + 5)
    assert [queue.place(each.id) for each in (running, waiting, last)] == [None, 1, 2]
    queue.stop(running.id)
    assert isinstance(last_event(running), Stopped)
    wait_until(lambda: steps_told(waiting))
    assert queue.place(last.id) == 1


def test_a_run_that_died_while_no_app_was_there_is_told_as_failed(new_queue: NewQueue) -> None:
    alone = starting("hang")
    folder = create_run(request())
    worker = alone(folder)
    wait_until(lambda: folder.read("told"))
    worker.stop(0)
    assert folder.status() == "running"
    queue = new_queue("train_all")
    queue.adopt()
    assert wait_until(lambda: is_over(folder)) < 2
    assert "process was gone after 3 steps" in failure(folder).message
    assert steps_told(folder) == [1, 2, 3]


def test_a_run_that_was_made_but_never_lined_up_is_adopted(new_queue: NewQueue) -> None:
    folder = create_run(request())
    new_queue("train_all").adopt()
    wait_until(lambda: is_over(folder))
    assert isinstance(last_event(folder), Finished)


def test_a_worker_that_cannot_be_started_is_told_and_the_next_one_runs(home: Path) -> None:
    starts = [starting("train_all")]

    def start(folder: RunFolder) -> object:
        if starts[0] and folder.request().steps == 1:
            raise OSError(12, "Cannot allocate memory")
        return starts[0](folder)

    queue = RunQueue(start=start)  # type: ignore[arg-type]
    failing, fine = queue.submit(request(1)), queue.submit(request(2))
    wait_until(lambda: is_over(failing) and is_over(fine))
    assert "Memory ran out" in failure(failing).message
    assert isinstance(last_event(fine), Finished)
    queue.close()


def test_deleting_a_running_run_ends_it_first(new_queue: NewQueue) -> None:
    queue = new_queue("train_long")
    folder = queue.submit(request())
    wait_until(lambda: steps_told(folder))
    worker = find_worker(folder)
    assert worker is not None
    queue.delete(folder.id)
    assert not folder.path.exists()
    assert not psutil.pid_exists(worker.pid)


def test_the_thread_ends_when_the_queue_is_closed_and_runs_go_on(new_queue: NewQueue) -> None:
    before = threading.active_count()
    queue = new_queue("train_long")
    folder = queue.submit(request())
    wait_until(lambda: steps_told(folder))
    assert threading.active_count() == before + 1
    queue.close()
    assert threading.active_count() == before
    assert find_worker(folder) is not None


def run_and_stop(queue: RunQueue) -> float:
    """Seconds that the stop took."""
    folder = queue.submit(request())
    wait_until(lambda: steps_told(folder))
    began = time.monotonic()
    queue.stop(folder.id)
    took = time.monotonic() - began
    assert last_event(folder).kind == "stopped"
    return took


def holdings() -> dict[str, int]:
    gc.collect()
    own = psutil.Process()
    return {
        "processes": len(own.children(recursive=True)),
        "threads": own.num_threads(),
        "files": own.num_fds(),
        "bytes": own.memory_info().rss,
    }


def overlap(folders: list[RunFolder]) -> bool:
    """Whether one was started before another one's end."""
    spans = sorted(
        (told[kinds(each).index("started")].at, told[-1].at) for each in folders for told in [each.events()[0]]
    )
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_folder_with_a_mark_that_says_nothing_does_not_stop_the_line(home: Path, new_queue: NewQueue) -> None:
    for number, mark in enumerate(("{}", "[]", "nonsense")):
        stray = home / "runs" / f"20200101-00000{number}-deadbeef"
        stray.mkdir(parents=True)
        (stray / "waiting.json").write_text(mark, encoding="utf-8")
    folder = new_queue("train_all").submit(request())
    wait_until(lambda: is_over(folder))
    assert kinds(folder)[-1] == "finished"
