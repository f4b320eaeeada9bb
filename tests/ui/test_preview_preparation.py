"""What is shown of a run before it starts is what the run does."""

from __future__ import annotations

from pathlib import Path

from lora_explorer.preview.data import encode, load_rows
from lora_explorer.preview.models.model_loading import load_tokenizer
from lora_explorer.preview.plan import plan_preview
from lora_explorer.ui.preview_preparation import look_at_data
from tests.preview.tiny_training import request_for, tiny_llama


def test_the_rows_shown_as_kept_aside_are_those_the_run_keeps_aside(tmp_path: Path) -> None:
    request = request_for(tiny_llama(tmp_path), {"seed": 7})
    plan = plan_preview(request)
    tokenizer = load_tokenizer(plan.source)
    kept = encode(load_rows(request.data), tokenizer, plan.sequence_len, seed=plan.seed).evaluation
    table, _ = look_at_data(request)
    shown = ["".join(piece.text for piece in row.pieces) for row in table.rows if row.use == "evaluation"]
    assert sorted(shown) == sorted(tokenizer.decode(row["input_ids"]) for row in kept)
