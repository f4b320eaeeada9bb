"""Memory estimates in a process of their own: the same figures, and a lost worker is told and replaced."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lora_explorer.base_models import Access
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.memory import count_lower_bound, estimate_memory
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.tracer import Tracer


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    tracer = Tracer()
    yield tracer
    tracer.stop()


def test_the_worker_estimates_what_is_estimated_here(tracer: Tracer) -> None:
    draft = start_draft()
    recipe, card = draft.recipe, draft.held_against()
    base_model = draft.base_model(recipe, Access(hub=False))
    here = estimate_memory(recipe, base_model, card=card, every_card=False)
    assert tracer.estimate(recipe, base_model, card=card) == here


def test_a_collection_in_the_worker_does_not_look_through_the_libraries(tracer: Tracer) -> None:
    draft = start_draft()
    tracer.estimate(draft.recipe, draft.base_model(draft.recipe, Access(hub=False)), card=draft.held_against())
    # torch and transformers are hundreds of thousands of objects.
    assert tracer.ask(gc.get_freeze_count) > 100_000


def test_settings_at_fault_come_back_as_findings(tracer: Tracer) -> None:
    draft = replace(start_draft(), touched={"lora_target_linear": False, "lora_target_modules": ["no_such_module"]})
    recipe = draft.recipe
    with pytest.raises(ExplorerError) as refused:
        tracer.estimate(recipe, draft.base_model(recipe, Access(hub=False)), card=draft.held_against())
    assert refused.value.findings[0].setting


def test_the_worker_counts_the_lower_bound_that_is_counted_here(tracer: Tracer) -> None:
    draft = start_draft()
    recipe, card = draft.recipe.changed(sequence_len=4_000_000, micro_batch_size=4096), draft.held_against()
    asked = recipe, draft.base_model(recipe, Access(hub=False)), "Why."
    with pytest.raises(MemoryUnknown, match="tokens at once"):
        tracer.estimate(*asked[:2], card=card)
    assert tracer.lower_bound(*asked, card=card) == count_lower_bound(*asked, card=card)


def test_a_tracer_in_the_background_gives_way_to_the_others(tracer: Tracer) -> None:
    background = Tracer(background=True)
    try:
        others = set(tracer.workers())
        draft = start_draft()
        recipe = draft.recipe
        background.estimate(recipe, draft.base_model(recipe, Access(hub=False)), card=draft.held_against())
        (worker,) = set(background.workers()) - others
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        background.stop()


def test_a_lost_worker_is_told_in_a_sentence_and_replaced(tracer: Tracer) -> None:
    draft = start_draft()
    recipe, card = draft.recipe, draft.held_against()
    base_model = draft.base_model(recipe, Access(hub=False))
    for worker in tracer.workers():
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(MemoryUnknown, match="interrupted"):
        tracer.estimate(recipe.changed(lora_r=7), base_model, card=card)
    assert tracer.estimate(recipe, base_model, card=card).peak_allocated_bytes > 0


def test_why_there_is_no_figure_comes_back_with_its_setting(tracer: Tracer) -> None:
    draft = replace(start_draft(), touched={"optimizer": "lomo"})
    recipe = draft.recipe
    with pytest.raises(MemoryUnknown, match="lomo") as unknown:
        tracer.estimate(recipe, draft.base_model(recipe, Access(hub=False)), card=draft.held_against())
    assert unknown.value.findings[0].setting == "optimizer"
