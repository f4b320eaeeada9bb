"""The command line trains: events on stdout, an end that its status tells, and nothing left running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from lora_explorer import questions
from lora_explorer.cli import app
from lora_explorer.cli.preview_request import Call, request_of
from lora_explorer.preview.events import Finished, Log, Sample, Started, Step
from lora_explorer.preview.request import request_from
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder
from lora_explorer.preview.step_memory.prediction import Prediction
from lora_explorer.report.preview_story import story_of
from lora_explorer.report.preview_terminal import lines_of
from tests.preview.tiny_training import TINY_LORA, tiny_llama

STEP_KEYS = {"step", "loss", "learning_rate", "tokens_per_second", "grad_norm", "memory_bytes"}
STOP_SECONDS = 2.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny model and its rows; runs are kept in it."""
    folder = tmp_path_factory.mktemp("previews")
    tiny_llama(folder / "model")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(HOME_VARIABLE, str(folder / "home"))
        yield folder


def config(place: Path, name: str = "run.yml", **changed: Any) -> Path:
    """A configuration of the tiny model with data of its own."""
    own = {"path": str(place / "model" / "rows.jsonl"), "type": "completion"}
    values = {"base_model": str(place / "model"), **TINY_LORA, "val_set_size": 2, "datasets": [own], **changed}
    file = place / name
    file.write_text(
        yaml.safe_dump({key: value for key, value in values.items() if value is not None}), encoding="utf-8"
    )
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(result: Result) -> list[dict[str, Any]]:
    """Every line on stdout as the event it has to be."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[Result, RunFolder]:
    """A whole run, with a copy of its adapter in `copy`."""
    result = run("preview", config(place), "--steps", 3, "--seed", 7, "--json", "--output", place / "copy")
    started = next(event for event in told(result) if event["event"] == "started")
    return result, RunFolder(place / "home" / "runs" / started["run"])


def test_a_run_is_told_in_lines_of_json(finished: tuple[Result, RunFolder]) -> None:
    result, _ = finished
    assert result.exit_code == 0, result.stderr
    events = told(result)
    steps = [event for event in events if event["event"] == "step"]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(set(step) >= STEP_KEYS and isinstance(step["loss"], float) for step in steps)
    kinds = [event["event"] for event in events]
    assert kinds.index("started") < kinds.index("step")
    assert kinds[-1] == "finished"
    assert {"measured", "sample"} <= set(kinds)


def test_the_run_is_the_one_that_was_asked_for(finished: tuple[Result, RunFolder], place: Path) -> None:
    _, folder = finished
    request = request_from(folder.read("request"))
    assert (request.recipe.seed, request.data.origin, request.steps) == (7, "file", 3)
    assert yaml.safe_load(request.text)["seed"] == 7
    assert folder.worker() is None
    adapter, copy = (load_file(path / "adapter_model.safetensors") for path in (folder.adapter, place / "copy"))
    assert adapter
    assert all(copy[name].equal(tensor) for name, tensor in adapter.items())


def test_a_finished_run_is_listed_and_shown(finished: tuple[Result, RunFolder]) -> None:
    _, folder = finished
    listed = json.loads(run("runs", "--json").stdout)
    shown = json.loads(run("runs", "show", folder.id, "--json").stdout)
    assert folder.id in {each["id"] for each in listed}
    assert (shown["status"], shown["steps_done"], shown["adapter"]) == ("finished", 3, str(folder.adapter))
    words = run("runs", "show", folder.id).stdout
    assert "Finished in" in words
    assert "Prompt" in words
    assert "Peak allocated" in words
    assert folder.id in run("runs").stdout


def test_a_run_goes_on_where_it_ended(finished: tuple[Result, RunFolder]) -> None:
    _, folder = finished
    result = run("preview", "--extend", folder.id, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    assert "step 5 of 5" in result.stdout
    assert "step 3 of" not in result.stdout
    assert f"The adapter is in {folder.adapter}." in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_ctrl_c_stops_a_run_and_leaves_nothing_running(place: Path) -> None:
    command = [sys.executable, "-m", "lora_explorer.cli", "preview", str(config(place)), "--steps", "5000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stdout)
        run_id = next(event["run"] for event in lines if event["event"] == "started")
        worker = RunFolder(place / "home" / "runs" / run_id).worker()
        next(event for event in lines if event["event"] == "step")
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        last = list(lines)[-1]
        assert process.wait() == 130
        assert time.monotonic() - asked < STOP_SECONDS + 1.0
        assert process.stderr.read() == ""
    assert last["event"] == "stopped"
    assert worker is not None
    assert not worker.is_running()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_a_signal_before_the_run_has_begun_starts_none(place: Path) -> None:
    code = (
        "import os, signal, sys, lora_explorer.questions as questions\n"
        "questions.prediction = lambda request: os.kill(os.getpid(), signal.SIGTERM)\n"
        "from lora_explorer.cli import main; sys.argv[0] = 'lora-explorer'; main()"
    )
    before = len(list((place / "home" / "runs").glob("*")))
    command = [sys.executable, "-c", code, "preview", str(config(place)), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == ["stopped"]
    assert len(list((place / "home" / "runs").glob("*"))) == before


@pytest.mark.parametrize(
    ("changed", "options", "setting", "reason"),
    [
        ({}, ("--steps", 0), "steps", "at least 1 step"),
        ({}, ("--steps", 10**6), "steps", "at most 10,000 steps"),
        ({"learning_rate": 0}, (), "learning_rate", "above 0"),
        ({"learning_rate": 10}, (), "learning_rate", "diverge"),
        ({"base_model": "nowhere"}, (), "base_model", "neither a preset nor a Hub id"),
        ({}, ("--data", "empty.jsonl"), "datasets", "empty.jsonl is empty"),
        ({}, ("--data", "gone.jsonl"), "datasets", "There is no file"),
        ({}, ("--data", "nothing"), "datasets", "is no data set of the Hub"),
        ({}, ("--micro-batch-size", 0), "micro_batch_size", "at least 1"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    options: tuple[object, ...],
    setting: str,
    reason: str,
) -> None:
    monkeypatch.chdir(place)
    Path("empty.jsonl").touch()
    result = run("preview", config(place, "refused.yml", **changed), *options, "--json")
    assert result.exit_code == 1
    (event,) = told(result)
    assert (event["event"], event["setting"]) == ("failed", setting)
    assert reason in event["message"]
    assert f"error ({setting}): {event['message']}" in result.stderr


@pytest.mark.parametrize(
    "options",
    [("--weights", "mine"), ("--type", "nope"), ("--steps", "many"), ("--log-to", "wandb"), ("--extend", "a-run")],
)
def test_a_wrong_call_is_status_2(place: Path, options: tuple[str, ...]) -> None:
    assert run("preview", config(place), *options).exit_code == 2


def test_neither_a_configuration_nor_a_run_is_a_wrong_call() -> None:
    assert run("preview").exit_code == 2


@pytest.mark.parametrize("options", [("--seed", 1), ("--data", "instructions"), ("--run-anyway",)])
def test_a_run_is_extended_with_what_it_began_with(options: tuple[object, ...]) -> None:
    assert run("preview", "--extend", "a-run", *options).exit_code == 2
    assert run("preview", "--extend", "a-run").exit_code == 1


def test_a_copy_of_the_adapter_overwrites_nothing(place: Path) -> None:
    (place / "full").mkdir()
    (place / "full" / "mine").touch()
    assert run("preview", config(place), "--output", place / "full").exit_code == 2


def test_what_would_not_fit_is_refused_and_runs_anyway_when_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_much = Prediction({}, {}, needed_bytes=2 << 30, available_bytes=1 << 30)
    monkeypatch.setattr("lora_explorer.preview.step_memory.prediction.predict", lambda plan: too_much)
    result = run("preview", config(place), "--json")
    (event,) = told(result)
    assert (result.exit_code, event["setting"]) == (1, "micro_batch_size")
    assert "would need about 2.00 GiB" in event["message"]
    assert "--run-anyway" in event["message"]
    request, _ = request_of(Call(config(place), choices={"run_anyway": True}))
    assert questions.prediction(request) is too_much


def test_data_that_are_not_here_give_way_to_a_built_in_set_with_a_note(place: Path) -> None:
    away = config(place, "away.yml", datasets=[{"path": "./gone.jsonl", "type": "completion"}])
    rows = str(place / "model" / "rows.jsonl")
    unknown = config(place, "unknown.yml", datasets=[{"path": rows, "type": "context_qa"}])
    for file in (away, unknown, config(place, "none.yml", datasets=None)):
        request, (note,) = request_of(Call(file))
        assert (request.data.origin, request.data.name) == ("built-in", "instructions")
        assert "built-in instructions are used" in note


def test_named_data_go_before_those_of_the_configuration(place: Path) -> None:
    rows = place / "model" / "rows.jsonl"
    request, notes = request_of(Call(config(place), data="conversations"))
    assert (request.data.name, notes) == ("conversations", ())
    request, _ = request_of(Call(config(place), data=str(rows), type="input_output"))
    assert (request.data.name, request.data.type) == (str(rows), "input_output")
    request, _ = request_of(Call(config(place), data="owner/name"))
    assert (request.data.origin, request.data.name) == ("hub", "owner/name")


def test_a_run_can_be_deleted_and_then_there_is_none(finished: tuple[Result, RunFolder]) -> None:
    _, folder = finished
    assert run("runs", "delete", folder.id).exit_code == 0
    assert not folder.path.exists()
    for command in ("show", "delete"):
        again = run("runs", command, folder.id)
        assert again.exit_code == 1
        assert "There is no such run" in again.stderr


def test_nothing_that_a_model_says_steers_the_terminal(place: Path) -> None:
    folder = RunFolder(place / "home" / "runs" / "20260101-000000-00000000")
    folder.path.mkdir(parents=True)
    for event in (
        Started(run=folder.id, steps=1, device="CPU"),
        Log(message="a line"),
        Sample(prompt="[bold]ask[/bold]", before="\x1b[2Jgone", after="\x9b31mred\x07", expected="two\nlines"),
        Finished(steps=1, seconds=1.0),
    ):
        folder.append(event)
    shown = run("runs", "show", folder.id).stdout
    assert "[bold]ask[/bold]" in shown
    assert not any(letter in shown for letter in "\x1b\x9b\x07")


def test_a_step_is_one_line_with_all_its_figures() -> None:
    started = Started(run="run", steps=9, device="CPU", notes=("Rows are padded.",), at=0.0)
    step = Step(
        step=2, loss=1.23456, learning_rate=2e-4, tokens_per_second=404.0, grad_norm=0.5, memory_bytes=1 << 30,
        tokens=404, epoch=0.1, at=1.0,
    )  # fmt: skip
    assert lines_of(started, story_of([started])) == ("Run run on CPU: 9 steps.", "note: Rows are padded.")
    (line,) = lines_of(step, story_of([started, step]))
    for figure in ("step 2 of 9", "loss 1.235", "learning rate 2e-4", "404 tokens/s", "gradient norm 0.5", "1 GiB"):
        assert figure in line
