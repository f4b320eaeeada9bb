"""The list of all runs, and what can be done with one of them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.events import Evaluation, Failed, Finished, Measured, Started
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.preview.supervision.history import curves, delete, restore, runs, title_of
from lora_explorer.preview.supervision.ownership import hashed

from ..runs import request, starting, steps_told, wait_until
from ..stand_in import step


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    return tmp_path


def finished_run(steps: int = 3, owner: str = "") -> RunFolder:
    folder = create_run(request(steps), owner=hashed(owner))
    folder.append(Started(run=folder.id, steps=steps, device="CPU"))
    for number in range(1, steps + 1):
        folder.append(step(number, loss=3.0 - number / 10))
    folder.append(Evaluation(step=steps, eval_loss=2.5))
    folder.append(Finished(steps=steps, seconds=1.0))
    return folder


def test_there_are_no_runs_before_the_first_one() -> None:
    assert runs() == []


def test_a_run_is_summed_up() -> None:
    folder = finished_run()
    [summary] = runs()
    assert summary.id == folder.id
    assert summary.status == "finished"
    assert summary.base_model == "owner/small"
    assert summary.data == "instructions"
    assert (summary.steps_done, summary.steps) == (3, 3)
    assert summary.last_loss == pytest.approx(2.7)
    assert summary.peak_bytes == 1 << 20
    assert summary.device == "CPU"
    assert summary.title == "owner/small on instructions, rank 8, learning rate 0.0001"
    assert abs(summary.at - time.time()) < 60


def test_a_run_of_random_weights_says_so_in_its_title() -> None:
    folder = create_run(request(2))
    folder.append(Started(run=folder.id, steps=2, device="CPU"))
    assert "random" not in runs()[0].title
    folder.append(replace(step(1), loss=None))
    assert runs()[0].title.endswith(", random weights")


def test_a_run_of_the_small_model_is_not_called_by_the_model_it_stood_in_for() -> None:
    create_run(replace(request(2), weights="bundled"))
    assert runs()[0].title.startswith("SmolLM2 135M on ")
    assert runs()[0].base_model == "SmolLM2 135M"


def test_a_run_that_is_looked_at_is_called_as_in_the_list() -> None:
    folder = create_run(request(2))
    for done in ((), (replace(step(1), loss=None),)):
        for event in done:
            folder.append(event)
        assert title_of(folder, done) == runs()[0].title
    (folder.path / "request.json").write_text("[]")
    assert title_of(folder, ()) == ""


def test_a_measured_peak_counts_more_than_what_steps_were_seen_to_hold() -> None:
    folder = finished_run()
    folder.append(Measured(measured={"peak_allocated_bytes": 5}, predicted={}, predicted_parts={}, measured_parts={}))
    assert runs()[0].peak_bytes == 5


def test_what_is_added_to_a_run_that_was_over_is_seen() -> None:
    folder = finished_run()
    assert runs()[0].status == "finished"
    folder.append(Started(run=folder.id, steps=5, device="CPU"))
    folder.append(step(4, loss=1.0))
    assert (runs()[0].status, runs()[0].steps_done) == ("running", 4)
    folder.append(Failed(message="No."))
    assert runs()[0].status == "failed"


def test_broken_folders_hide_no_other(home: Path) -> None:
    good = finished_run()
    names = ("20200101-000000-none", "20200101-000000-list", "20200101-000000-torn", "20200101-000000-odd")
    none, of_list, torn, odd = (home / "runs" / name for name in names)
    for path in (none, of_list, torn, odd):
        path.mkdir()
    (of_list / "request.json").write_text("[1]")
    (torn / "request.json").write_text('{"recipe": {"lora')
    (odd / "request.json").write_text('{"recipe": 3, "base_model": null, "data": [], "steps": null}')
    (odd / "events.jsonl").write_bytes(b'\xff\xfe\n{"event": "step", "step": 1}\n[]\n{"event": "sta')
    (odd / "summary.json").write_text('{"stamp": [0], "id": 4}')
    (home / "runs" / "stray").write_text("")
    assert [summary.id for summary in runs()] == [good.id, odd.name]


def test_two_hundred_runs_are_listed_quickly() -> None:
    for _ in range(200):
        finished_run(30)
    first = len(runs())
    began = time.perf_counter()
    assert len(runs()) == first == 200
    assert time.perf_counter() - began < 0.5


def test_the_newest_run_comes_first(home: Path) -> None:
    old, new = finished_run(), finished_run()
    old.path.rename(old.path.with_name("20200101-000000-aaaa"))
    new.path.rename(new.path.with_name("20210101-000000-aaaa"))
    assert [summary.id for summary in runs()] == ["20210101-000000-aaaa", "20200101-000000-aaaa"]


def test_an_owner_sees_own_runs_and_those_of_nobody() -> None:
    own, unowned, foreign = finished_run(owner="ada"), finished_run(), finished_run(owner="ben")
    assert {summary.id for summary in runs("ada")} == {own.id, unowned.id}
    assert {summary.id for summary in runs("")} == {unowned.id}
    assert len(runs()) == 3
    for look in (lambda: restore(foreign.id, "ada"), lambda: curves([foreign.id], "ada")):
        with pytest.raises(PreviewRefused):
            look()
    with pytest.raises(PreviewRefused):
        delete(foreign.id, "ada")
    assert foreign.path.exists()


def test_curves_of_runs_lie_over_each_other() -> None:
    one, other = finished_run(3), finished_run(5)
    first, second = curves([one.id, other.id, one.id])
    assert first.losses == pytest.approx({1: 2.9, 2: 2.8, 3: 2.7})
    assert list(second.losses) == [1, 2, 3, 4, 5]
    assert second.eval_losses == {5: 2.5}


def test_a_step_done_twice_counts_as_it_went_the_last_time() -> None:
    folder = finished_run(3)
    folder.append(step(3, loss=1.5))
    assert curves([folder.id])[0].losses == pytest.approx({1: 2.9, 2: 2.8, 3: 1.5})


def test_seven_curves_at_the_most() -> None:
    ids = [finished_run(1).id for _ in range(8)]
    assert len(curves(ids[:7])) == 7
    with pytest.raises(PreviewRefused, match="At most 7"):
        curves(ids)


def test_settings_of_a_run_are_restored_as_they_were_written() -> None:
    folder = finished_run()
    assert restore(folder.id) == "lora_r: 8\n"
    (folder.path / "request.json").write_text("{")
    with pytest.raises(PreviewRefused, match="cannot be read"):
        restore(folder.id)


def test_a_run_is_deleted_with_all_it_left() -> None:
    gone, kept = finished_run(), finished_run()
    delete(gone.id)
    assert not gone.path.exists()
    assert [summary.id for summary in runs()] == [kept.id]


def test_deleting_a_running_run_stops_it_first() -> None:
    folder = create_run(request())
    worker = starting("train_long")(folder)
    wait_until(lambda: steps_told(folder))
    delete(folder.id)
    assert worker.has_ended()
    assert not folder.path.exists()


def test_a_folder_is_shown_by_its_last_part_alone() -> None:
    folder = finished_run()
    record = json.loads((folder.path / "request.json").read_text())
    record["base_model"] |= {"origin": "folder", "label": "/home/ada/models/llama"}
    record["data"] |= {"origin": "file", "name": "/home/ada/uploads/rows.jsonl"}
    folder.write("request", record)
    [summary] = runs()
    assert (summary.base_model, summary.data) == ("llama", "rows.jsonl")
    assert "ada" not in summary.title
