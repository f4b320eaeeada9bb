"""What a preview costs beside the training itself: time to the first loss, and overhead of a step over the bare loop.

    python benchmarks/preview.py [--model NAME] [--steps 20] [--rounds 3] [--json]

The same steps run in turn as a bare transformers.Trainer, without events, logging or token counts, and as the worker
runs them; each in a process of its own. Steps in which memory is measured or libraries warm up are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from lora_explorer.base_models import find_base_model
from lora_explorer.preview.events import Measured, Stage, Started, Step
from lora_explorer.preview.request import DataChoice, PreviewRequest
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.settings import recipe_from

SMALL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
STEP_TOKENS = 404
# The first finds no caches, the second is measured, the third may still feel it.
SKIPPED_STEPS = 3


def main() -> None:
    """Measure, and print a table or one JSON object."""
    asked = _arguments()
    if asked.bare:
        print(json.dumps(bare_step_seconds(RunFolder(Path(asked.bare)))))
        return
    found = compare(asked.model, asked.steps, asked.rounds)
    print(json.dumps(found) if asked.json else _table(found))


def compare(model: str, steps: int, rounds: int) -> dict[str, Any]:
    """Step times of both in seconds, medians over all rounds, and what the worker spends before its first loss."""
    bare: list[float] = []
    told: list[float] = []
    first: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        request = _request(model, steps, _rows(Path(place)))
        for number in range(rounds):
            bare += _bare(_folder(Path(place) / f"bare-{number}", request))
            folder = _folder(Path(place) / f"worker-{number}", request)
            began = _worker(folder)
            told += told_step_seconds(folder)
            first.append(stages_seconds(folder, began))
    return {
        "bare_step_seconds": median(bare),
        "worker_step_seconds": median(told),
        "overhead_percent": 100 * (median(told) / median(bare) - 1),
        "fastest_bare_step_seconds": min(bare),
        "fastest_worker_step_seconds": min(told),
        "first_loss_seconds": median(each["first loss"] for each in first),
        "stages_seconds": first[-1],
        "steps": len(told),
        "tokens": STEP_TOKENS,
    }


def bare_step_seconds(folder: RunFolder) -> list[float]:
    """The Trainer alone, on the same model and data; from the end of a step to the end of the next one."""
    from transformers import Trainer, TrainerCallback, set_seed

    from lora_explorer.preview.data import encode, load_rows
    from lora_explorer.preview.models.adaptation import adapt
    from lora_explorer.preview.models.model_loading import load_model, load_tokenizer
    from lora_explorer.preview.plan import plan_preview
    from lora_explorer.preview.step_memory.trainer_step import preview_step
    from lora_explorer.preview.training.trainer import make_trainer

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    plan = plan_preview(folder.request())
    tokenizer = load_tokenizer(plan.source)
    data = encode(load_rows(plan.request.data), tokenizer, plan.sequence_len)
    step = preview_step(plan)
    base = load_model(plan.source, step, plan.device)
    set_seed(plan.seed)
    prepared = make_trainer(plan, adapt(base, plan.start, step), tokenizer, data, folder)
    arguments = replace(prepared.args, logging_strategy="no", include_num_input_tokens_seen="no", report_to=[])
    Trainer(
        model=prepared.model,
        args=arguments,
        train_dataset=prepared.train_dataset,
        data_collator=prepared.data_collator,
        callbacks=[Clock()],
    ).train()
    return _durations(ends)


def told_step_seconds(folder: RunFolder) -> list[float]:
    """The same of a worker, by its events."""
    events, _ = folder.events()
    return _durations([event.at for event in events if isinstance(event, Step)])


def stages_seconds(folder: RunFolder, began: float) -> dict[str, float]:
    """When each stage began and the first loss came, after the process was started."""
    events, _ = folder.events()
    found = {event.message: event.at - began for event in events if isinstance(event, Stage)}
    found |= {"planned": next(event.at for event in events if isinstance(event, Started)) - began}
    first = next(event.at for event in events if isinstance(event, Step)) - began
    measured = [event for event in events if isinstance(event, Measured)]
    return found | {"first loss": first} | ({"memory measured": measured[0].at - began} if measured else {})


def _durations(ends: list[float]) -> list[float]:
    kept = ends[SKIPPED_STEPS - 1 :]
    return [end - begin for begin, end in pairwise(kept)]


def _bare(folder: RunFolder) -> list[float]:
    answer = subprocess.run(
        [sys.executable, __file__, "--bare", str(folder.path)], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds: list[float] = json.loads(answer.stdout.splitlines()[-1])
    return seconds


def _worker(folder: RunFolder) -> float:
    """Run it to its end. Returns when it was started, in seconds since the epoch."""
    began = time.time()
    with folder.log.open("wb") as log:
        command = [sys.executable, "-m", "lora_explorer.preview.supervision.worker", str(folder.path)]
        subprocess.run(command, stdout=log, stderr=log, check=True)
    return began


def _folder(path: Path, request: PreviewRequest) -> RunFolder:
    path.mkdir()
    folder = RunFolder(path)
    folder.write("request", request.record())
    return folder


def _rows(place: Path) -> Path:
    """Rows of more tokens than a step has, so that every one is cut to the same length."""
    file = place / "rows.jsonl"
    lines = (" ".join(f"{number} and {other}," for other in range(STEP_TOKENS)) for number in range(64))
    file.write_text("\n".join(json.dumps({"text": line}) for line in lines), encoding="utf-8")
    return file


def _request(model: str, steps: int, rows: Path) -> PreviewRequest:
    recipe = recipe_from(
        {
            "base_model": model,
            "adapter": "lora",
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_target_linear": True,
            "learning_rate": 0.0002,
            "sequence_len": STEP_TOKENS,
            "micro_batch_size": 1,
            "bf16": False,
        }
    )
    data = DataChoice("file", str(rows), type="completion", val_set_size=0, excess_length="truncate")
    return PreviewRequest(
        recipe=recipe, base_model=find_base_model(model), steps=steps, data=data, samples=0, eval_every=0
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=SMALL_MODEL, help="a Hub id or a folder")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    return parser.parse_args()


def _table(found: dict[str, Any]) -> str:
    stages = "\n".join(
        f"  {seconds:6.2f} s  {stage}" for stage, seconds in sorted(found["stages_seconds"].items(), key=lambda s: s[1])
    )
    return (
        f"{found['tokens']} tokens a step, {found['steps']} steps of each, median (fastest):\n"
        f"  bare Trainer  {found['bare_step_seconds']:.3f} s ({found['fastest_bare_step_seconds']:.3f} s)\n"
        f"  worker        {found['worker_step_seconds']:.3f} s ({found['fastest_worker_step_seconds']:.3f} s), "
        f"{found['overhead_percent']:+.1f} %\n"
        f"first loss {found['first_loss_seconds']:.1f} s after the process was started; last round:\n{stages}"
    )


if __name__ == "__main__":
    main()
