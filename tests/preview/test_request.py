"""A request comes back from its folder as it went in, above all what it may read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lora_explorer.base_models import Access, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.events import Log
from lora_explorer.preview.models import hub_files
from lora_explorer.preview.models.weights import Destination, find_weights
from lora_explorer.preview.plan import plan_preview
from lora_explorer.preview.request import DataChoice, Limits, PreviewRequest, request_from
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.settings import recipe_from

from .tiny_training import continued, request_for, tiny_llama

STRANGER = Access(folders=False)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


def request(base_model: str = "meta-llama/Llama-3.1-8B", **choices: object) -> PreviewRequest:
    recipe = recipe_from(
        {"base_model": base_model, "adapter": "lora", "lora_target_linear": True, "learning_rate": 2e-4}
    )
    return PreviewRequest(recipe, find_base_model(base_model), **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("access", [Access(), STRANGER, Access(hub=False, folders=False)])
def test_a_request_is_read_back_as_it_was_written(access: Access) -> None:
    data = DataChoice("hub", "owner/name", "alpaca", columns=(("field", "text"),), eot_tokens=("<end>",))
    asked = request(data=data, limits=Limits(wall_clock_seconds=9.0), access=access, weights="shape", seed=1)
    assert request_from(json.loads(json.dumps(asked.record()))) == asked
    assert create_run(asked).request() == asked


def test_a_request_that_does_not_say_what_it_may_read_is_not_run() -> None:
    record = request().record()
    del record["access"]
    with pytest.raises(KeyError):
        request_from(record)


def test_the_worker_of_a_stranger_reads_no_file_of_the_server(tmp_path: Path) -> None:
    asked = request_for(tiny_llama(tmp_path / "model"), access=STRANGER)
    with pytest.raises(PreviewRefused, match="cannot be read on a public page"):
        continued(create_run(asked))
    built_in = replace(asked, data=DataChoice(), weights="own")
    with pytest.raises(PreviewRefused, match="Folders cannot be read"):
        continued(create_run(built_in))


def test_the_worker_of_a_stranger_takes_neither_weights_nor_tokenizer_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> object:
        raise AssertionError("asked the Hub or its cache")

    monkeypatch.setattr(hub_files, "look_up", never)
    monkeypatch.setattr(hub_files, "cached_snapshot", never)
    with pytest.raises(AssertionError):
        plan_preview(request("meta-llama/Llama-3.2-1B"))
    source = plan_preview(request("meta-llama/Llama-3.2-1B", access=STRANGER)).source
    assert (source.kind, source.folder, source.hub_id) == ("shape", None, None)


def test_a_stranger_trains_a_billion_parameters_or_one_layer() -> None:
    plan = plan_preview(request("mistralai/Mistral-7B-v0.1", access=STRANGER))
    assert load_skeleton(plan.source.base_model).total_params <= 10**9
    # Its two tables of embeddings have 1.05 billion.
    assert plan_preview(request("meta-llama/Llama-3.1-8B", access=STRANGER)).layers == 1
    model, roomy = find_base_model("meta-llama/Llama-3.1-405B"), Destination("cuda", "bfloat16", available_bytes=10**12)
    with pytest.raises(PreviewRefused, match="on a public page at most 2 billion"):
        find_weights(model, "shape", access=STRANGER, destination=roomy)


def test_events_come_back_whatever_characters_they_hold(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for message in ("two\u2028lines", "a\u0085b", "half a character: \ud800"):
        folder.append(Log(message=message))
    told, _ = folder.events()
    assert [event.message[:3] for event in told if isinstance(event, Log)] == ["two", "a\u0085b", "hal"]
