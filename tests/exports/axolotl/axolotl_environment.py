"""Environments of their own for the real Axolotl, and its source distribution: made once, kept in .venv.

    python axolotl_environment.py            what is not there yet is made

checking: what its validators need, about 80 MB. counting: what its adapter loader needs too; torch, PEFT and what else
is the same there as here is shared with the environment that runs this. source: the example files of the release.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from sysconfig import get_path
from typing import Any

VERSION = "0.21.0"
FOLDER = Path(__file__).parents[3] / ".venv" / f"axolotl-{VERSION}"
SCRIPT = Path(__file__).with_name("real_axolotl.py")
AXOLOTL = f"axolotl=={VERSION}"
# The releases that Axolotl pins.
CHECKING = ("pydantic==2.13.5", "PyYAML==6.0.3", "addict==2.4.0", "pillow==13.0.0", "packaging==26.0")
COUNTING = ("transformers==5.20.1", "pydantic==2.13.5", "pydantic_core==2.46.5", "PyYAML==6.0.3", "addict==2.4.0")
SHARED = {"torch": "2.13.0", "peft": "0.21.2", "accelerate": "1.15.0", "bitsandbytes": "0.50.2", "pillow": "13.0.0"}
_PIP = (sys.executable, "-m", "pip")
_QUIETLY = ("--quiet", "--disable-pip-version-check", "--retries", "2")
_UNREACHABLE = re.compile(r"retrying|connection|timed out|name resolution|unreachable", re.IGNORECASE)


class RegistryUnreachable(Exception):
    """The package registry did not answer, so that nothing can be installed."""


@cache
def python_for(kind: str) -> Path:
    """The Python of an environment, which is made if it is not there. kind: checking or counting.

    Raises RegistryUnreachable.
    """
    folder = FOLDER / kind
    ready = folder / f"ready-{_state()}"
    if not ready.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        {"checking": _for_checking, "counting": _for_counting}[kind](folder)
        _install(folder, "--no-deps", "--ignore-requires-python", AXOLOTL)
        ready.touch()
    return _python(folder)


def _state() -> str:
    """Changes with what is installed and for which Python."""
    state = repr((sys.version_info[:2], AXOLOTL, CHECKING, COUNTING, SHARED))
    return hashlib.sha256(state.encode()).hexdigest()[:12]


def examples() -> Path:
    """The folder with the example files of the release. Raises RegistryUnreachable."""
    folder = FOLDER / "source"
    if not (folder / "ready").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _unpack(_downloaded(folder), folder)
        (folder / "ready").touch()
    return folder / "examples"


def ask(kind: str, mode: str, questions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of real_axolotl.py, one for each question."""
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    # Paths in a configuration are those of the release.
    answer = subprocess.run(
        [str(python_for(kind)), str(SCRIPT), mode],
        input=lines,
        capture_output=True,
        text=True,
        cwd=examples().parent,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr[-2000:])
    return [json.loads(line) for line in answer.stdout.splitlines()]


def _for_checking(folder: Path) -> None:
    _install(folder, *CHECKING)


def _for_counting(folder: Path) -> None:
    """Packages in the environment itself come before those that it shares."""
    own = Path(_output(str(_python(folder)), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (own / "shared.pth").write_text(f"{get_path('purelib')}\n{get_path('platlib')}\n", encoding="utf-8")
    other = [f"{name}=={version}" for name, version in SHARED.items() if _installed(name) != version]
    _install(folder, "--no-deps", *COUNTING, *other)


def _installed(name: str) -> str:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _downloaded(folder: Path) -> Path:
    """The source distribution; only Axolotl itself as source, because pip builds its metadata with wheels."""
    options = ("--no-deps", "--no-binary", "axolotl", "--ignore-requires-python", "--dest", str(folder))
    _run(*_PIP, "download", *_QUIETLY, *options, AXOLOTL)
    return next(folder.glob("axolotl-*.tar.gz"))


def _unpack(archive: Path, folder: Path) -> None:
    """The examples, and the DeepSpeed files that they name."""
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            top, _, inside = member.name.partition("/")
            if member.isfile() and top and inside.startswith(("examples/", "deepspeed_configs/")):
                target = folder / inside
                if folder not in target.resolve().parents:
                    raise RuntimeError(f"{member.name} would be written outside of {folder}.")
                target.parent.mkdir(parents=True, exist_ok=True)
                content = opened.extractfile(member)
                target.write_bytes(content.read() if content else b"")
    archive.unlink()


def _install(folder: Path, *arguments: str) -> None:
    _run(*_PIP, "--python", str(_python(folder)), "install", *_QUIETLY, *arguments)


def _python(folder: Path) -> Path:
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def _run(*command: str) -> None:
    _output(*command)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    reason = done.stderr.strip()
    if _UNREACHABLE.search(reason):
        raise RegistryUnreachable(f"The package registry cannot be reached: {reason.splitlines()[-1]}.")
    raise RuntimeError(f"{' '.join(command)}: {reason[-2000:]}")


def main() -> None:
    try:
        for kind in ("checking", "counting"):
            print(f"{AXOLOTL}, {kind}: {python_for(kind)}")
        print(f"{AXOLOTL}, examples: {examples()}")
    except RegistryUnreachable as error:
        print(f"{error} Tests against the real Axolotl are skipped.")


if __name__ == "__main__":
    main()
