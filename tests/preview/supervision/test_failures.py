"""Sentences for what ended a run."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.supervision.failures import LossNotFinite, explain, explain_death, explain_time, to_public


def raised(by: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the libraries decide
        by()
    return caught.value


def chained() -> None:
    try:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    except OSError as error:
        raise RuntimeError("could not save") from error


@pytest.mark.parametrize(
    ("cause", "says", "setting"),
    [
        (lambda: torch.empty(1 << 45), "Memory ran out", "micro_batch_size"),
        (lambda: bytearray(1 << 50), "Memory ran out", "micro_batch_size"),
        (lambda: torch.save({"a": torch.ones(300_000)}, "/dev/full"), "no room for a file", ""),
        (lambda: Path("/dev/full").write_bytes(b"x"), "The disk was full", ""),
        (chained, "The disk was full", ""),
    ],
)
def test_what_libraries_raise_is_understood(cause: Callable[[], object], says: str, setting: str) -> None:
    told = explain(raised(cause), steps=3)
    assert says in told.message
    assert "after 3 steps" in told.message
    assert told.setting == setting
    assert told.suggestion


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_every_way_of_running_out_of_memory_is_one_sentence(error: Exception) -> None:
    told = explain(error, steps=0)
    assert told.message == "Memory ran out before the first step was done."
    assert "micro_batch_size" in told.suggestion


def test_a_full_file_system_is_understood_in_safetensors_words(tmp_path: Path) -> None:
    error = raised(lambda: save_file({"a": torch.ones(1)}, tmp_path / "nowhere" / "a.safetensors"))
    assert type(error)("I/O error: No space left on device (os error 28)").__class__.__name__ == "SafetensorError"
    told = explain(type(error)("I/O error: No space left on device (os error 28)"), steps=3)
    assert "The disk was full" in told.message


def test_what_was_refused_is_told_as_it_is() -> None:
    refused = PreviewRefused("There is no such column.", setting="datasets", suggestion="Name one.")
    told = explain(refused, steps=0)
    assert (told.message, told.suggestion, told.setting) == ("There is no such column.", "Name one.", "datasets")


def test_a_loss_that_is_no_number_names_the_learning_rate() -> None:
    told = explain(LossNotFinite(7), steps=6)
    assert "step 7" in told.message
    assert "learning_rate" in told.suggestion


def test_anything_else_is_told_by_its_name_in_one_short_sentence() -> None:
    told = explain(KeyError("x" * 5000 + "\nsecond line"), steps=1)
    assert told.message.startswith("The run failed after 1 step: KeyError: ")
    assert len(told.message) < 400
    assert "\n" not in told.message
    assert explain(ValueError(), steps=1).message == "The run failed after 1 step: ValueError."


@pytest.mark.parametrize(
    ("status", "log", "says"),
    [
        (-signal.SIGKILL, "", "was killed after 3 steps, as systems do when memory runs out"),
        (-signal.SIGSEGV, "Fatal Python error: Segmentation fault\n", "signal 11, SIGSEGV"),
        (-signal.SIGABRT, "terminate called\n  what():  std::bad_alloc\n", "Memory ran out after 3 steps"),
        (1, "libgomp: Thread creation failed: Resource temporarily unavailable\n", "Memory ran out after 3 steps"),
        (1, "Traceback\nOSError: [Errno 28] No space left on device\n", "The disk was full after 3 steps"),
        (1, "Traceback\nImportError: No module named x\n", "status 1: ImportError: No module named x."),
        (3, "", "ended after 3 steps with status 3."),
        (None, "", "was gone after 3 steps"),
        (-60, "", "signal 60"),
    ],
)
def test_a_process_that_ended_without_a_word_is_explained(status: int | None, log: str, says: str) -> None:
    told = explain_death(status, log, steps=3)
    assert says in told.message
    assert told.message.endswith(".")
    assert told.suggestion.endswith(".")


def test_a_time_limit_is_told_in_the_unit_that_is_read_most_easily() -> None:
    assert "of 60 minutes after 1 step." in explain_time(3600, steps=1).message
    assert "of 45 seconds after 12 steps." in explain_time(45, steps=12).message
    assert "of 45 seconds before the first step was done." in explain_time(45, steps=0).message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No file /home/ada/runs/x/events.jsonl here", "No file events.jsonl here"),
        ("in '/home/ada/models/': no", "in 'models': no"),
        (r"in C:\Users\ada\x.json", "in x.json"),
        ("in ~/models/llama", "in llama"),
        ("see https://huggingface.co/owner/name/tree", "see https://huggingface.co/owner/name/tree"),
        ("owner/name is 3/4 done", "owner/name is 3/4 done"),
        ("token hf_abcdefghijklmnop", "token …"),
        ("key s3cr3t-value-of-mine", "key …"),
    ],
)
def test_folders_and_secrets_are_not_shown(said: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "s3cr3t-value-of-mine")
    assert to_public(said) == shown
    assert not re.search("ada|s3cr3t|hf_", explain(RuntimeError(said), steps=1).message)
