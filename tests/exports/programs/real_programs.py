"""The real programs, each installed beside this environment once and asked in a process of its own.

Only their own wheels and what they cannot be imported without are fetched (`--no-deps`); torch and most of the rest
come from the environment the tests run in. Without a package registry these tests are skipped, with pip's reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).parent / "checks"
FOLDER = Path(os.environ.get("LORA_EXPLORER_REAL_PROGRAMS", Path(sys.prefix) / "real-programs"))
# With the newest versions of their own that each one allows.
PACKAGES = {
    "llama_factory": "llamafactory==0.9.5 transformers==5.6.0 peft==0.18.1 trl==0.24.0 tokenizers==0.22.2 "
    "huggingface_hub==1.33.0 datasets==4.0.0 accelerate==1.11.0 omegaconf==2.4.0 antlr4-python3-runtime==4.9.3 "
    "httpx==0.28.1 httpcore==1.0.9 h11==0.16.0 anyio",
    "ms_swift": "ms-swift==4.6.0 modelscope==1.30.0 json_repair addict dacite einops "
    "aiohttp multidict yarl propcache aiohappyeyeballs aiosignal frozenlist",
    "torchtune": "torchtune==0.6.1 torchao==0.9.0 torchdata==0.11.0 omegaconf==2.4.0 antlr4-python3-runtime==4.9.3 "
    "sentencepiece tiktoken blobfile kagglehub regex",
    "mlx_lm": "mlx-lm==0.32.2 mlx==0.32.4 mlx-cpu==0.32.4",
    "unsloth": "unsloth==2026.10.9",
}
# What pip says where it reaches no registry, or one that does not have a package for this machine.
_UNREACHABLE = ("No matching distribution", "Could not find a version", "Connection", "timed out", "is not a supported")


def installed(program: str) -> Path:
    """The folder that makes the program importable. Skips where it cannot be fetched."""
    folder = FOLDER / program
    done = folder / ".complete"
    if done.exists() and done.read_text(encoding="utf-8") == PACKAGES[program]:
        return folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    result = subprocess.run([*command, *PACKAGES[program].split()], capture_output=True, text=True, timeout=500)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        if any(sign in result.stderr for sign in _UNREACHABLE):
            pytest.skip(f"{program} cannot be fetched here: {lines[-1] if lines else result.stderr[-200:]}")
        raise AssertionError(result.stderr)
    done.write_text(PACKAGES[program], encoding="utf-8")
    return folder


def ask(program: str, question: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the program makes of files, as its script in `checks` tells it. folder: for what it writes."""
    paths = [str(installed(program)), *filter(None, [os.environ.get("PYTHONPATH")])]
    asked, answered = folder / f"{program}.question.json", folder / f"{program}.answer.json"
    asked.write_text(json.dumps(question), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, str(CHECKS / f"ask_{program}.py"), str(asked), str(answered)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(answered.read_text(encoding="utf-8"))
