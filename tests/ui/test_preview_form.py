"""The form of a preview is a stranger's input: what is wrong is told at its field, what is no value is left out."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.request import Limits
from lora_explorer.ui.preview_desk import Shown, Wish, is_run_id
from lora_explorer.ui.preview_form import FROM_UPLOAD, FROM_YAML, PUBLIC_LIMITS, Form

RUN = "20260101-120304-abcdef01"


@pytest.mark.parametrize("steps", [None, 0, -3, 1.5, 10**9])
def test_steps_that_are_no_number_of_steps_are_refused_at_their_field(steps: float | None) -> None:
    form = Form(steps=steps)
    with pytest.raises(PreviewRefused) as refused:
        form.choices("lora_r: 8\n", Limits())
    (finding,) = refused.value.findings
    assert form.field_at_fault(finding.setting) == "preview-steps"


def test_a_public_page_allows_fewer_steps() -> None:
    form = Form(steps=PUBLIC_LIMITS.steps + 1)
    assert form.choices("lora_r: 8\n", Limits())["steps"] == PUBLIC_LIMITS.steps + 1
    with pytest.raises(PreviewRefused, match=str(PUBLIC_LIMITS.steps)):
        form.choices("lora_r: 8\n", PUBLIC_LIMITS)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../../x.jsonl", "0" * 64 + ".exe", "0" * 63 + "/.jsonl"])
def test_an_upload_can_only_be_named_as_it_was_kept(name: str) -> None:
    with pytest.raises(PreviewRefused) as refused:
        Form(data=FROM_UPLOAD, upload=name).choices("lora_r: 8\n", Limits())
    assert refused.value.findings[0].setting == "datasets"


def test_data_of_the_yaml_are_its_first_entry_and_missing_ones_are_told() -> None:
    text = "datasets:\n  - path: owner/rows\n    type: alpaca\nval_set_size: 0.2\n"
    data = Form(data=FROM_YAML).choices(text, Limits())["data"]
    assert (data.origin, data.name, data.type, data.val_set_size) == ("hub", "owner/rows", "alpaca", 0.2)
    with pytest.raises(PreviewRefused, match="no datasets"):
        Form(data=FROM_YAML).choices("lora_r: 8\n", Limits())


@pytest.mark.parametrize(
    "sent", [None, 3, "form", [], {"steps": "many", "weights": 7}, {"steps": float("nan")}, {"data": "x" * 10_000}]
)
def test_what_is_no_form_is_the_form_as_it_starts(sent: Any) -> None:
    assert Form.from_page(sent) == Form()


@pytest.mark.parametrize("run", ["", "..", "../runs", "20260101-120304-ABCDEF01", RUN + "/..", None, 7])
def test_what_could_be_a_path_is_no_run(run: Any) -> None:
    assert not is_run_id(run)
    assert Wish.from_page({"asked": run, "picked": [run], "owner": "x"}) == Wish()
    assert Shown.from_page({"run": run, "seen": 3}) == Shown()


def test_what_a_page_was_told_comes_back_as_it_was() -> None:
    shown = Shown(RUN, 17, "running")
    assert Shown.from_page(shown.for_page()) == shown
    form = Form(steps=7, data=FROM_YAML, sequence_len=64)
    assert Form.from_page(form.for_page()) == form
