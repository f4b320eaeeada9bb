"""A worker that trains nothing: `python stand_in.py CONDUCT RUN_FOLDER`. All but the training is the real worker."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lora_explorer.preview.events import Event, Log, Started, Step
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.limits import go_first, lead_group
from lora_explorer.preview.supervision.worker import run

Emit = Callable[[Event], None]
STEPS_BEFORE = 3


def step(number: int, loss: float = 2.0) -> Step:
    return Step(
        step=number,
        loss=loss,
        learning_rate=1e-4,
        tokens_per_second=100.0,
        grad_norm=1.0,
        memory_bytes=1 << 20,
        tokens=100 * number,
        epoch=0.1,
    )


def train_all(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    _train_until(folder.request().steps, folder, emit, stopping)


def train_long(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    """Until it is told to stop, with a checkpoint of sorts, so that an extension goes on from there."""
    _train_until(10**9, folder, emit, stopping)


def _train_until(last: int, folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    kept = folder.path / "checkpoint.json"
    done = int(kept.read_text()) if kept.exists() else 0
    while done < last and not stopping.is_set():
        done += 1
        emit(step(done))
        kept.write_text(str(done))
        time.sleep(0.01)


def raise_in_step(*_: object) -> None:
    raise ValueError("shapes (3, 4) and (5, 6) do not match in /root/secret/place.py")


def grow(*_: object) -> None:
    kept = []
    while True:
        kept.append(b"\xa5" * (8 << 20))
        time.sleep(0.002)


def grow_tensors(*_: object) -> None:
    import torch

    kept = []
    while True:
        kept.append(torch.ones(1 << 22))


def diverge(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    emit(step(STEPS_BEFORE + 1, loss=float("nan")))


def fill_disk(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    with (folder.path / "checkpoint.bin").open("wb") as file:
        while True:
            file.write(b"\xa5" * 4096)


def tell_forever(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    while True:
        emit(Log(message="x" * 997))


def hang(*_: object) -> None:
    """As native code does that never comes back: no signal is looked at, and no other thread gets its turn."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(1000)


def hang_in_python(*_: object) -> None:
    while True:
        time.sleep(0.01)


def hang_with_children(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    """One child in the group, and one that left it."""
    sleep = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"]
    children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    folder.write("children", [child.pid for child in children])
    hang()


def leave_children(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    folder.write("children", [child.pid])


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave_threads(*_: object) -> None:
    threading.Thread(target=time.sleep, args=(1000,)).start()


CONDUCTS = {
    each.__name__: each
    for each in (
        train_all,
        train_long,
        raise_in_step,
        grow,
        grow_tensors,
        diverge,
        fill_disk,
        tell_forever,
        hang,
        hang_in_python,
        hang_with_children,
        leave_children,
        crash,
        leave_threads,
    )
}


def main() -> None:
    conduct = CONDUCTS[sys.argv[1]]

    def train(folder: RunFolder, emit: Emit, stopping: threading.Event) -> None:
        emit(Started(run=folder.id, steps=folder.request().steps, device="cpu"))
        if conduct not in (train_all, train_long):
            for number in range(1, STEPS_BEFORE + 1):
                emit(step(number))
        folder.write("told", time.time())
        conduct(folder, emit, stopping)

    lead_group()
    go_first()
    run(RunFolder(Path(sys.argv[2])), train)


if __name__ == "__main__":
    main()
