"""What previews on a GPU tell of it: written down by the worker, read for estimates of other runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_explorer.memory import find_card
from lora_explorer.preview import measured_speed
from lora_explorer.preview.events import Step
from lora_explorer.preview.measured_speed import keep_efficiency, measured_efficiencies, reached
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.preview.step_memory import free_memory

from .runs import request

CARD = find_card("RTX 4090")
PLAN: Any = SimpleNamespace(gradient_accumulation_steps=2, micro_batch_size=4, device="cuda")
ROWS = 2 * 4


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))


@pytest.fixture(autouse=True)
def sheet(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A data sheet by which a token of a row takes a millisecond; returns the lengths that were asked for."""
    asked: list[int] = []

    def timed(plan: Any, card: Any, tokens: int) -> Any:
        asked.append(tokens)
        return SimpleNamespace(total_seconds=tokens / 1000, kernels=10)

    monkeypatch.setattr(measured_speed, "_timed", timed)
    return asked


def step(number: int, row_tokens: int, seconds: float, share_of_padding: float = 0.0) -> Step:
    positions = row_tokens * ROWS
    tokens = round(positions * (1 - share_of_padding))
    return Step(
        step=number,
        loss=1.0,
        learning_rate=1e-4,
        tokens_per_second=tokens / seconds,
        grad_norm=1.0,
        memory_bytes=1,
        tokens=tokens,
        epoch=0.0,
        positions=positions,
    )


def steps(*found: tuple[int, float]) -> list[Step]:
    return [step(number, tokens, seconds) for number, (tokens, seconds) in enumerate(found, start=1)]


def test_a_step_reached_the_share_that_its_data_sheet_takes_of_its_time() -> None:
    found = list(reached(PLAN, CARD, steps((128, 9.0), (128, 9.0), (128, 0.256), (64, 0.08))))
    assert found == pytest.approx([0.5, 0.8])


def test_the_first_steps_are_left_out() -> None:
    assert list(reached(PLAN, CARD, steps((128, 0.256), (128, 0.256)))) == []


def test_padding_counts_for_it_was_computed() -> None:
    warm = steps((128, 1.0), (128, 1.0))
    plain, padded = (list(reached(PLAN, CARD, [*warm, step(3, 128, 0.256, share)])) for share in (0.0, 0.4))
    assert plain == pytest.approx(padded)


def test_lengths_of_one_tile_share_a_trace(sheet: list[int]) -> None:
    found = list(reached(PLAN, CARD, steps(*[(128, 1.0)] * 2, (100, 0.2), (110, 0.22), (128, 0.256), (130, 0.26))))
    assert found == pytest.approx([0.5] * 4)
    assert sheet == [128, 192]


def test_a_step_that_waited_for_the_host_says_nothing_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_speed, "_timed", lambda *_: SimpleNamespace(total_seconds=0.01, kernels=100_000))
    assert list(reached(PLAN, CARD, steps(*[(128, 1.0)] * 5))) == []


def test_a_step_of_an_older_version_without_positions_is_left_out() -> None:
    old = [Step(**{**vars(each), "positions": 0}) for each in steps(*[(128, 0.256)] * 4)]
    assert list(reached(PLAN, CARD, old)) == []


def run_on(name: str, monkeypatch: pytest.MonkeyPatch, *found: tuple[int, float]) -> RunFolder:
    from lora_explorer.memory.cards import card_like

    device = free_memory.Gpu(card_like(name, CARD.memory_bytes, (8, 9)), 1 << 30)
    monkeypatch.setattr(free_memory, "find_gpu", lambda: device)
    folder = create_run(request())
    for event in steps((128, 9.0), (128, 9.0), *found):
        folder.append(event)
    keep_efficiency(folder, PLAN)
    return folder


def test_what_a_run_reached_is_kept_with_it_and_found_by_the_name_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_on("NVIDIA GeForce RTX 4090", monkeypatch, (128, 0.256), (128, 0.32))
    run_on("NVIDIA GeForce RTX 4090", monkeypatch, (128, 0.16))
    found = measured_efficiencies()["RTX 4090"]
    assert (found.efficiency, found.steps, found.runs) == (pytest.approx(0.5), 3, 2)
    assert 0.4 <= found.low < found.efficiency < found.high <= 0.8
    first.delete()
    assert measured_efficiencies()["RTX 4090"].runs == 1


def test_a_device_that_is_no_card_of_the_table_is_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    run_on("NVIDIA GeForce RTX 4090 Laptop GPU", monkeypatch, (128, 0.256))
    assert measured_efficiencies() == {}


def test_without_runs_nothing_was_measured() -> None:
    assert measured_efficiencies() == {}


@pytest.mark.parametrize(
    "record", [None, [], {"gpu": "RTX 4090"}, {"gpu": "RTX 4090", "shares": []}, {"shares": ["a"]}]
)
def test_a_file_that_says_nothing_is_left_out(record: Any) -> None:
    create_run(request()).write("speed", record)
    assert measured_efficiencies() == {}
