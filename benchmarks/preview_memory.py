"""Memory of one training step as it was predicted and as it was measured, in previews that really run.

    python benchmarks/preview_memory.py [--only NAME...] [--json]

On a CPU every storage of the step is counted; on a CUDA device PyTorch's own peaks are read. Names: see CASES.
The small model is the bundled SmolLM2-135M-Instruct; its copy is converted first where there is none yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from lora_explorer.base_models import find_base_model
from lora_explorer.preview.device import find_device
from lora_explorer.preview.events import Failed, Measured
from lora_explorer.preview.models.bundled_model import BUNDLED_MODEL
from lora_explorer.preview.request import PreviewRequest, Weights
from lora_explorer.preview.run_folder import RunFolder, create_run
from lora_explorer.preview.supervision.process import start_worker
from lora_explorer.settings import recipe_from

ONE_BILLION = "meta-llama/Llama-3.2-1B"
STEPS = 2
LORA: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_target_linear": True,
    "sequence_len": 512,
    "micro_batch_size": 4,
    "learning_rate": 0.0002,
    "bf16": "auto",
}


class Case(NamedTuple):
    """A run. settings: in place of those of LORA."""

    base_model: str
    weights: Weights
    settings: Mapping[str, Any]


_SMALL: tuple[str, Weights] = (BUNDLED_MODEL, "bundled")
CASES: dict[str, dict[str, Case]] = {
    "cpu": {
        "SmolLM2": Case(*_SMALL, {}),
        "SmolLM2, checkpointed": Case(*_SMALL, {"gradient_checkpointing": True, "lora_dropout": 0.05}),
        "SmolLM2, DoRA, accumulated": Case(
            *_SMALL,
            {
                "peft_use_dora": True,
                "micro_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "optimizer": "adamw_torch",
            },
        ),
        "SmolLM2, QLoRA": Case(*_SMALL, {"adapter": "qlora", "load_in_4bit": True, "attn_implementation": "eager"}),
    },
    "cuda": {
        "SmolLM2": Case(*_SMALL, {}),
        "SmolLM2, checkpointed": Case(*_SMALL, {"gradient_checkpointing": True}),
        "1B at random": Case(ONE_BILLION, "shape", {"sequence_len": 1024, "gradient_checkpointing": True}),
        "1B at random, QLoRA": Case(ONE_BILLION, "shape", {"adapter": "qlora", "load_in_4bit": True}),
    },
}


@dataclass(frozen=True)
class Row:
    """One figure, or one part of the peak, of one run."""

    run: str
    what: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error_percent(self) -> float | None:
        """Positive where too much was predicted."""
        if not self.measured_bytes:
            return None
        return round(100 * (self.predicted_bytes - self.measured_bytes) / self.measured_bytes, 4)


def rows_of(name: str, case: Case) -> Iterator[Row]:
    """Run it, and what it told of its memory."""
    found = measure(case)
    for what, measured_bytes in found.measured.items():
        if what in found.predicted:
            yield Row(name, what, found.predicted[what], measured_bytes)
    for part in found.predicted_parts.keys() & found.measured_parts.keys():
        yield Row(name, f"part: {part}", found.predicted_parts[part], found.measured_parts[part])


def measure(case: Case) -> Measured:
    """Two steps in a process of their own, and nothing of them left."""
    values = {**LORA, **case.settings, "base_model": case.base_model}
    request = PreviewRequest(
        recipe=recipe_from(values),
        base_model=find_base_model(case.base_model),
        weights=case.weights,
        steps=STEPS,
        samples=0,
        eval_every=0,
        run_anyway=True,
    )
    folder = create_run(request)
    try:
        return _ran(folder)
    finally:
        folder.delete()


def _ran(folder: RunFolder) -> Measured:
    worker = start_worker(folder)
    while not worker.has_ended():
        time.sleep(0.1)
    events, _ = folder.events()
    for event in events:
        if isinstance(event, Measured):
            return event
        if isinstance(event, Failed):
            raise SystemExit(f"{event.message} {event.suggestion}")
    raise SystemExit("The run ended without a measurement.")


def as_table(rows: Sequence[Row]) -> str:
    """Plain text, one figure a line."""
    cells = [("run", "what", "predicted", "measured", "error"), *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    error = "" if row.error_percent is None else f"{row.error_percent:+.4f} %"
    return row.run, row.what, f"{row.predicted_bytes:,}", f"{row.measured_bytes:,}", error


def main(arguments: Sequence[str] | None = None) -> None:
    device = find_device()
    cases = CASES.get(device, {})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(cases), default=list(cases), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout")
    options: Any = parser.parse_args(arguments)
    if device != "cuda":
        print("No CUDA device is here: nothing is held against torch.cuda's peaks.", file=sys.stderr)
    rows = [row for name in options.only for row in rows_of(name, cases[name])]
    if options.json:
        print(json.dumps([asdict(row) | {"error_percent": row.error_percent} for row in rows], indent=2))
    else:
        print(as_table(rows))


if __name__ == "__main__":
    main()
