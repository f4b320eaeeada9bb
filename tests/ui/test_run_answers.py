"""What the page shows of runs, to whom, and what is refused before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.base_models import Access, BaseModel
from lora_explorer.memory import Card
from lora_explorer.preview import events as told
from lora_explorer.preview.data import DataTable
from lora_explorer.preview.run_folder import RunFolder, create_run, home
from lora_explorer.preview.supervision.ownership import find_run, hashed
from lora_explorer.preview.supervision.process import stop_worker
from lora_explorer.preview.supervision.queue import RunQueue
from lora_explorer.settings import Recipe
from lora_explorer.ui.history_answers import HistoryAnswers
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.preview_answers import PreviewAnswers
from lora_explorer.ui.preview_form import Form
from lora_explorer.ui.preview_preparation import look_at_data, prepare, weights_on_offer
from lora_explorer.ui.run_answers import RunAnswers
from tests.preview.runs import request, starting, wait_until

MINE, OTHER = "a" * 32, "b" * 32
_SKIPPED = {"__type__": "update"}


@dataclass
class Prepared:
    """Answers as if runs had been prepared: `fits` says whether they do."""

    fits: bool = True
    problem: str = ""

    def estimate(self, recipe: Recipe, base_model: BaseModel, *, card: Card | None, expandable_segments: bool) -> Any:
        raise NotImplementedError

    def lower_bound(self, recipe: Recipe, base_model: BaseModel, reason: str, *, card: Card | None) -> Any:
        raise NotImplementedError

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        if question is weights_on_offer:
            return ()
        if question is prepare:
            return _preparation(fits=self.fits)
        assert question is look_at_data
        return _table(self.problem), 64


def _preparation(*, fits: bool) -> Any:
    from lora_explorer.ui.preview_preparation import Preparation

    plan: Any = type("Plan", (), {"device": "cpu", "dtype": "float32", "layers": None, "notes": (), "weights": "shape",
        "micro_batch_size": 1, "sequence_len": 64, "gradient_accumulation_steps": 1})()  # fmt: skip
    prediction: Any = type("Prediction", (), {"needed_bytes": 3 << 30, "available_bytes": 2 << 30, "fits": fits,
        "sentence": lambda self: "It needs 1 GiB more."})()  # fmt: skip
    return Preparation(plan, prediction)


def _table(problem: str) -> DataTable:
    return DataTable("rows", "alpaca", (), 1, 1, 0, 0, 0, 0, 9, 9, 9, 3, problem=problem)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path))


@pytest.fixture
def queue() -> Iterator[RunQueue]:
    queue = RunQueue(start=starting("train_long"))
    yield queue
    queue.close()
    for folder in (home() / "runs").glob("*"):
        stop_worker(RunFolder(folder))


def answers(queue: RunQueue, aside: Prepared | None = None, *, public: bool = False) -> RunAnswers:
    return RunAnswers(PreviewAnswers(Access(folders=not public), aside=aside or Prepared()), queue, public=public)


def wish(owner: str = MINE, **more: Any) -> dict[str, Any]:
    return {"form": Form().for_page(), "owner": owner, **more}


def started(owner: str = MINE) -> RunFolder:
    folder = create_run(request(), owner=hashed(owner))
    folder.append(told.Started(run=folder.id, steps=5, device="CPU"))
    return folder


def is_skipped(output: Any) -> bool:
    return bool(output == _SKIPPED)


def test_a_run_that_would_not_fit_starts_only_anyway(queue: RunQueue) -> None:
    page = answers(queue, Prepared(fits=False))
    card, _, _, anyway, *_ = page.start(start_draft().for_page(), wish())
    assert "It needs 1 GiB more." in card
    assert anyway["visible"] is True
    assert not (home() / "runs").exists()
    shown = page.start_anyway(start_draft().for_page(), wish())[5]
    assert find_run(shown["run"]).request().run_anyway


def test_data_that_train_nothing_are_refused_at_their_field_before_anything_starts(queue: RunQueue) -> None:
    placed = answers(queue, Prepared(problem="Every row is too long.")).start(start_draft().for_page(), wish())[2]
    assert "preview-data" in placed
    assert "Every row is too long." in placed
    assert not (home() / "runs").exists()


def test_nothing_is_sent_again_that_the_page_shows_already(queue: RunQueue) -> None:
    folder, page = started(), answers(queue)
    shown, *rest = page.attach(wish())
    assert shown["run"] == folder.id
    assert not any(is_skipped(output) for output in rest)
    assert all(is_skipped(output) for output in page.follow(wish(), shown))
    folder.append(told.Stage(message="Loading"))
    assert "Loading" in page.follow(wish(), shown)[2]


def test_a_page_finds_the_run_that_still_goes_on_before_a_newer_one_that_is_over(queue: RunQueue) -> None:
    running, over = sorted((started(), started()), key=lambda folder: folder.id)
    over.append(told.Stopped(steps=0))
    assert answers(queue).attach(wish())[0]["run"] == running.id


def test_a_page_is_never_attached_to_the_run_of_another_browser(queue: RunQueue) -> None:
    started(OTHER)
    assert all(is_skipped(output) for output in answers(queue).attach(wish()))


def test_on_a_public_page_runs_of_others_are_as_if_they_were_not(queue: RunQueue) -> None:
    theirs, nobodys = started(OTHER), create_run(request())
    page = answers(queue, public=True)
    for folder in (theirs, nobodys):
        missing = page.open(wish(asked="20200101-000000-00000000"))[0]
        assert page.open(wish(asked=folder.id))[0] == missing
    _, listed, _ = HistoryAnswers(page).listed(wish())
    assert theirs.id not in listed
    assert nobodys.id not in listed
    _, listed, _ = HistoryAnswers(page).listed(wish(OTHER))
    assert theirs.id in listed


def test_another_s_run_is_neither_stopped_nor_deleted(queue: RunQueue) -> None:
    theirs, page = started(OTHER), answers(queue)
    shown = {"run": theirs.id, "seen": 0, "status": "running"}
    assert "another browser" in page.stop(wish(), shown)[0]
    assert "another browser" in HistoryAnswers(page).remove(wish(asked=theirs.id), shown)[0]
    assert theirs.status() == "running"


def test_at_home_another_browser_s_run_that_is_over_is_deleted_and_on_a_public_page_it_is_not(queue: RunQueue) -> None:
    theirs, nobodys = started(OTHER), create_run(request())
    for folder in (theirs, nobodys):
        folder.append(told.Stopped(steps=0))
        asked = wish(asked=folder.id)
        assert "no such run" in HistoryAnswers(answers(queue, public=True)).remove(asked, {})[0]
        assert folder.path.exists()
        assert HistoryAnswers(answers(queue)).remove(asked, {})[0] == ""
        assert not folder.path.exists()


def test_a_run_is_started_stopped_and_deleted_and_the_page_follows(queue: RunQueue) -> None:
    page = answers(queue)
    shown = page.start(start_draft().for_page(), wish())[5]
    folder = find_run(shown["run"])
    wait_until(lambda: any(event.kind == "step" for event in folder.events()[0]))
    following = page.follow(wish(), shown)
    assert 'data-value="running"' in following[2]
    after = page.stop(wish(), following[0])
    assert 'data-value="stopped"' in after[3]
    gone = HistoryAnswers(page).remove(wish(asked=folder.id), after[1])
    assert not folder.path.exists()
    assert gone[4]["run"] == ""


def test_a_run_that_is_over_goes_on_for_more_steps(queue: RunQueue) -> None:
    page = answers(queue)
    folder = started()
    folder.append(told.Step(step=5, loss=1.0, learning_rate=1e-4, tokens_per_second=1, grad_norm=1, memory_bytes=1,
        tokens=1, epoch=1))  # fmt: skip
    folder.append(told.Finished(steps=5, seconds=1.0))
    shown = page.attach(wish())[0]
    said, after, timer, *_ = page.extend(3.0, wish(), shown)
    assert (said, timer.active) == ("", True)
    assert after["status"] in ("waiting", "running")
    assert folder.request().steps == 8
    assert "1 or more" in page.extend(0.5, wish(), shown)[0]


def test_a_stranger_has_one_run_at_a_time(queue: RunQueue) -> None:
    page = answers(queue, public=True)
    first = page.start(start_draft().for_page(), wish())[5]["run"]
    assert "not over yet" in page.start(start_draft().for_page(), wish())[1]
    assert page.start(start_draft().for_page(), wish(OTHER))[5]["run"] != first


def test_settings_of_a_run_come_back_as_they_were(queue: RunQueue) -> None:
    folder, page = started(), answers(queue)
    said, file, text, draft, *_ = page.restore(start_draft().for_page(), wish(), {"run": folder.id, "seen": 0})
    assert (said, text) == ("", folder.request().text)
    assert draft["text"] == file["text"] == text
