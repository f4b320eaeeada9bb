"""Somebody whose YAML from last year has three faults: found, mended, tried in a preview, taken away."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.reading import type_yaml, yaml_text
from browser.stories.visitor import ANSWERED_MS, TRACED_MS, Arrive
from tests.preview.tiny_training import tiny_llama

pytestmark = pytest.mark.browser

FILE = "last year.yml"
# A key that Axolotl drops in silence, a share that is none, and a batch that nobody reads.
TEXT = """\
base_model: {model}
adapter: lora
lora_rank: 4 # as in my last run
lora_alpha: 8
lora_dropout: 5 # per cent
lora_target_modules: [q_proj, v_proj]
learning_rate: 0.01
sequence_len: 128
micro_batch_size: 2
batch_size: 8
bf16: false
val_set_size: 2
datasets:
  - path: {rows}
    type: completion
"""
FAULTS = ["lora_rank: 4 # as in my last run", "lora_dropout: 5 # per cent", "batch_size: 8"]
MENDED = ["# as in my last run", "lora_r: 4", "lora_dropout: 0.05 # per cent", "gradient_accumulation_steps: 4"]


def test_an_imported_yaml_with_three_faults(arrive: Arrive, tmp_path: Path) -> None:
    visitor = arrive(1024, "dark")
    page = visitor.page
    model = tiny_llama(tmp_path / "tiny-llama")
    text = TEXT.format(model=json.dumps(str(model)), rows=json.dumps(str(model / "rows.jsonl")))
    problems = page.locator("#yaml-reading .problems")
    at_start = visitor.value("trainable-params")

    # The wrong file first: it is told, and what was there stays.
    (tmp_path / "photo.yml").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    visitor.open_tab("YAML")
    opener = page.locator("input[type=file][accept*=yml]")
    opener.set_input_files(tmp_path / "photo.yml")
    expect(page.locator("#yaml-problem li, #yaml-reading .problems .error").first).to_be_visible(timeout=ANSWERED_MS)
    assert visitor.value("trainable-params") == at_start

    # Each fault at its line; the figures are those of before, and say so.
    opener.set_input_files(tmp_path / FILE)
    expect(page.locator("#yaml-file")).to_contain_text(FILE, timeout=ANSWERED_MS)
    for line in (3, 5, 10):
        expect(problems.locator(f"[data-line='{line}']")).to_have_count(1, timeout=ANSWERED_MS)
    expect(page.locator("#side-notes")).to_contain_text("earlier, valid settings", timeout=ANSWERED_MS)
    assert visitor.value("trainable-params") == at_start
    visitor.look("three-faults")

    # Two are mended by a press, the third by hand, at the line that it leads to.
    for fix in ("lora_r: 4, without lora_rank", "gradient_accumulation_steps: 4, without batch_size"):
        problems.get_by_role("button", name=fix).click()
        expect(problems.get_by_role("button", name=fix)).to_have_count(0, timeout=ANSWERED_MS)
    problems.get_by_role("button", name="line 6", exact=True).click()
    expect(page.locator("#yaml .cm-content")).to_be_focused()
    type_yaml(page, yaml_text(page).replace("lora_dropout: 5", "lora_dropout: 0.05"))
    expect(problems.locator(".error")).to_have_count(0, timeout=ANSWERED_MS)
    expect(page.locator("#trainable-params")).not_to_have_attribute("data-value", str(at_start), timeout=ANSWERED_MS)
    expect(page.locator("#lora_r input[type=number]")).to_have_value("4", timeout=ANSWERED_MS)
    visitor.look("mended")

    # Every other line is as it was, the comments too.
    taken = visitor.takes_away()
    before, after = text.splitlines(), taken.yaml.splitlines()
    assert [line for line in after if line in before] == [line for line in before if line not in FAULTS]
    assert [line for line in after if line not in before] == MENDED

    # Does it learn? Tried for real; a reload in the middle finds the run again.
    visitor.open_tab("Preview")
    page.locator("#preview-data input").click()
    page.get_by_role("option", name="The YAML's datasets").click()
    status, points = page.locator("#preview-status"), page.locator("#preview-loss")
    visitor.type_number("preview-steps", "1.5")
    page.locator("#preview-start").click()
    visitor.is_told("preview-steps", "whole number")
    visitor.type_number("preview-steps", "5000")
    page.locator("#preview-start").click()
    expect(status).to_have_attribute("data-value", "running", timeout=TRACED_MS)
    expect(points).to_have_attribute("data-points", re.compile(r"[1-9]\d*"), timeout=TRACED_MS)
    visitor.reload()
    assert visitor.value("trainable-params") == taken.figures.trainable_params
    visitor.open_tab("Preview")
    expect(status).to_have_attribute("data-value", "running", timeout=ANSWERED_MS)
    found_again = visitor.value("preview-progress")
    expect(page.locator("#preview-progress")).not_to_have_attribute("data-value", str(found_again), timeout=ANSWERED_MS)
    visitor.look("running-after-a-reload")
    page.locator("#preview-stop").click()
    expect(status).to_have_attribute("data-value", "stopped", timeout=ANSWERED_MS)
    visitor.open_tab("History")
    row = page.locator("#preview-history tr[data-run]").first
    expect(row).to_be_visible(timeout=ANSWERED_MS)
    visitor.look("kept")
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Delete for good?").click()
    expect(page.locator("#preview-history")).to_have_attribute("data-value", "0", timeout=ANSWERED_MS)
