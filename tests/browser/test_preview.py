"""A preview in the page: started, followed, found again after a reload, stopped, waited for, kept."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import FIRST_COUNT_MS
from browser.reading import expect_trainable_params, open_tab, trainable_params, type_yaml
from tests.preview.tiny_training import tiny_llama

pytestmark = pytest.mark.browser

# A worker loads torch and transformers first.
WORKER_MS = 120_000
# That a stop takes two seconds is tested where no page is beside it.
STOPPED_MS = 20_000


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A YAML that trains a llama of width 64 on a few rows of text."""
    model = tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
    rows = json.dumps(str(model / "rows.jsonl"))
    return (
        f"base_model: {json.dumps(str(model))}\nadapter: lora\nlora_r: 4\nlora_alpha: 8\n"
        "lora_target_modules: [q_proj, v_proj]\nlearning_rate: 0.01\nsequence_len: 128\nmicro_batch_size: 2\n"
        f"bf16: false\nval_set_size: 2\ndatasets:\n  - path: {rows}\n    type: completion\n"
    )


@pytest.fixture
def ready(page: Page, recipe: str) -> Page:
    return _ready(page, recipe)


@pytest.fixture
def other_visitor(chromium: Browser, server: str, recipe: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1024, "height": 1000})
    page = context.new_page()
    page.goto(server)
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    yield _ready(page, recipe)
    context.close()


def test_a_run_is_shown_to_its_end_found_again_after_a_reload_and_its_adapter_downloaded(
    ready: Page, tmp_path: Path
) -> None:
    _start(ready, steps=3)
    expect(ready.locator("#preview-status")).to_have_attribute("data-value", "finished", timeout=WORKER_MS)
    loss = ready.locator("#preview-loss")
    expect(loss).to_have_attribute("data-points", "3")
    expect(ready.locator("#preview-progress")).to_have_attribute("data-value", "3")
    expect(ready.locator("#preview-memory")).to_have_attribute("data-measured", _DIGITS)
    last_loss = loss.get_attribute("data-value") or ""

    ready.reload()
    ready.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    open_tab(ready, "Preview")
    expect(loss).to_have_attribute("data-value", last_loss, timeout=20_000)
    expect(loss).to_have_attribute("data-points", "3")

    with ready.expect_download() as download:
        ready.locator("#preview-download").click()
    archive = tmp_path / "adapter.zip"
    download.value.save_as(archive)
    names = {Path(name).name for name in zipfile.ZipFile(archive).namelist()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names

    ready.locator("#preview-restore").click()
    expect_trainable_params(ready, 1792)
    _delete_in_history(ready)


def test_one_runs_the_other_waits_and_each_stops_only_its_own(ready: Page, other_visitor: Page) -> None:
    _start(ready, steps=5000)
    expect(ready.locator("#preview-status")).to_have_attribute("data-value", "running", timeout=WORKER_MS)
    _start(other_visitor, steps=2)
    waiting = other_visitor.locator("#preview-status")
    expect(waiting).to_have_attribute("data-value", "waiting", timeout=20_000)
    expect(waiting).to_contain_text("place 1")
    expect(ready.locator("#preview-progress")).not_to_have_attribute("data-value", "0", timeout=WORKER_MS)

    other_visitor.locator("#preview-stop").click()
    expect(waiting).to_have_attribute("data-value", "stopped", timeout=STOPPED_MS)
    expect(ready.locator("#preview-status")).to_have_attribute("data-value", "running")

    ready.locator("#preview-stop").click()
    expect(ready.locator("#preview-status")).to_have_attribute("data-value", "stopped", timeout=STOPPED_MS)
    done = int(ready.get_attribute("#preview-progress", "data-value") or 0)
    assert 0 < done < 5000


def test_after_a_lost_connection_the_run_is_on_the_page_again_without_a_click(other_visitor: Page) -> None:
    page = other_visitor
    _start(page, steps=5000)
    points = page.locator("#preview-loss")
    expect(points).to_have_attribute("data-points", re.compile(r"[1-9]\d*"), timeout=WORKER_MS)
    # Gradio loads the page again once it reaches the server.
    with page.expect_event("framenavigated", timeout=WORKER_MS):
        page.context.set_offline(True)
        page.wait_for_timeout(3000)
        page.context.set_offline(False)
    expect(points).to_be_visible(timeout=FIRST_COUNT_MS)
    expect(points).to_have_attribute("data-points", re.compile(r"[1-9]\d*"), timeout=20_000)
    page.locator("#preview-stop").click()
    expect(page.locator("#preview-status")).to_have_attribute("data-value", "stopped", timeout=STOPPED_MS)


def test_a_reload_keeps_what_was_chosen_for_the_next_run(other_visitor: Page) -> None:
    page = other_visitor
    page.locator("#preview-steps input[type=number]").fill("7")
    page.reload()
    page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
    expect(page.locator("#preview-data input")).to_have_value("The YAML's datasets", timeout=20_000)
    expect(page.locator("#preview-steps input[type=number]")).to_have_value("7")


@pytest.mark.parametrize(("steps", "said"), [("0", "from 1"), ("", "empty"), ("1.5", "whole number")])
def test_bad_steps_get_one_sentence_at_the_field_and_nothing_starts(page: Page, steps: str, said: str) -> None:
    open_tab(page, "Preview")
    page.locator("#preview-steps input[type=number]").fill(steps)
    page.locator("#preview-start").click()
    expect(page.locator("#preview-steps > .sentence")).to_contain_text(said, timeout=20_000)
    assert page.get_attribute("#preview-status", "data-value") == "none"
    assert page.locator(".toast-body").count() == 0


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "upload" in request.url else None)
    open_tab(page, "Preview")
    _choose(page, "preview-data", "A file of mine")
    page.evaluate(
        """() => {
          const input = document.querySelector("#preview-upload-row input[type=file]");
          const file = new File(["{}"], "rows.jsonl");
          Object.defineProperty(file, "size", { value: 2 * 1024 ** 3 });
          Object.defineProperty(input, "files", { value: [file], configurable: true });
          input.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    expect(page.locator("#preview-data > .sentence")).to_contain_text("at most", timeout=5_000)
    assert sent == []


def test_an_uploaded_file_shows_what_the_model_will_see_and_a_broken_one_what_is_wrong(
    ready: Page, tmp_path: Path
) -> None:
    _choose(ready, "preview-data", "A file of mine")
    for number, (text, said) in enumerate((('{"text": "one two three"}\n' * 4, "4 rows"), ("{broken\n", "Line 1"))):
        file = tmp_path / f"rows-{number}.jsonl"
        file.write_text(text, encoding="utf-8")
        with ready.expect_file_chooser() as chooser:
            ready.locator("#preview-upload").click()
        chooser.value.set_files(file)
        place = "#preview-data > .sentence" if number else "#preview-data-table"
        expect(ready.locator(place)).to_contain_text(said, timeout=WORKER_MS)


_DIGITS = re.compile(r"\d+")


def _ready(page: Page, recipe: str) -> Page:
    """With the recipe on screen and its own data chosen."""
    before = trainable_params(page)
    type_yaml(page, recipe)
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", str(before), timeout=20_000)
    open_tab(page, "Preview")
    _choose(page, "preview-data", "The YAML's datasets")
    return page


def _choose(page: Page, field: str, option: str) -> None:
    page.locator(f"#{field} input").click()
    page.get_by_role("option", name=option).click()


def _start(page: Page, steps: int) -> None:
    page.locator("#preview-steps input[type=number]").fill(str(steps))
    page.locator("#preview-start").click()


def _delete_in_history(page: Page) -> None:
    open_tab(page, "History")
    row = page.locator("#preview-history tr[data-run]")
    expect(row).to_have_count(1, timeout=20_000)
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Delete for good?").click()
    expect(page.locator("#preview-history")).to_have_attribute("data-value", "0", timeout=20_000)
