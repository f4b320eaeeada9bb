"""How long sweeps, searches and advice take, and how much of the time is spent on traces.

    python benchmarks/exploration.py [--only NAME...] [--json]

Names: sweeps, advice. Nothing here is a test: times depend on the machine. Each measurement starts in a process of its
own, so that none finds the traces of another; starting it and reading a base model are counted in.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from lora_explorer import exploration_questions
from lora_explorer.base_models import find_base_model
from lora_explorer.memory import find_card
from lora_explorer.settings import Recipe, recipe_from

LLAMA_8B = "meta-llama/Meta-Llama-3-8B"
QWEN_MOE = "Qwen/Qwen3-30B-A3B"
CARDS = ("RTX 4090", "A100 80GB SXM")
STEP: Mapping[str, Any] = {
    "adapter": "lora",
    "lora_r": 32,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "micro_batch_size": 2,
    "sequence_len": 2048,
    "gradient_checkpointing": True,
    "learning_rate": 0.0002,
}
# 200 points each.
SWEEPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "rank × targets": (LLAMA_8B, ("lora_r=4..200 +4", "targets=all-linear,attention,mlp,query-value")),
    "batch × length": (LLAMA_8B, ("micro_batch_size=1..10", "sequence_len=512..10240 +512")),
    "checkpointing × batch": (LLAMA_8B, ("gradient_checkpointing=true,false", "micro_batch_size=1..100")),
    "optimizer × rank": (
        LLAMA_8B,
        ("optimizer=adamw_torch,adamw_bnb_8bit,paged_adamw_8bit,lion_8bit", "lora_r=4..200 +4"),
    ),
    "rank × length, experts": (QWEN_MOE, ("lora_r=8..160 x1.4", "sequence_len=512..10240 +512")),
}


@dataclass(frozen=True)
class Row:
    """cpu_seconds: of this process and those that it starts."""

    name: str
    base_model: str
    points: int
    traces: int
    first_seconds: float
    seconds: float
    cpu_seconds: float


def recipe_for(base_model: str) -> Recipe:
    return recipe_from({**STEP, "base_model": base_model})


def time_sweep(name: str) -> Row:
    base_model_name, overs = SWEEPS[name]
    start, cpu = time.perf_counter(), cpu_seconds()
    recipe, base_model = recipe_for(base_model_name), find_base_model(base_model_name)
    cards = tuple(find_card(card) for card in CARDS)
    sweep = exploration_questions.planned_sweep(overs, recipe, base_model, cards=cards, expandable_segments=True)
    first = 0.0
    for point in exploration_questions.swept(sweep):
        assert point.prediction.process_bytes, point
        first = first or time.perf_counter() - start
    seconds = time.perf_counter() - start
    return Row(name, base_model_name, sweep.size, sweep.traces, first, seconds, cpu_seconds() - cpu)


def time_advice(name: str) -> Row:
    recipe, base_model = recipe_for(LLAMA_8B), find_base_model(LLAMA_8B)
    card = find_card("RTX 3060 12GB")
    start, cpu = time.perf_counter(), cpu_seconds()
    if name == "largest":
        found = exploration_questions.largest_values(recipe, base_model, find_card(CARDS[0]), expandable_segments=True)
        points = sum(each.estimates for each in found)
    else:
        single, _ = exploration_questions.advice(recipe, base_model, card, expandable_segments=True)
        points = len(single)
    seconds = time.perf_counter() - start
    return Row(name, LLAMA_8B, points, 0, seconds, seconds, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def alone(measure: Callable[[str], Row], name: str) -> Row:
    """In a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name).result()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=("sweeps", "advice"), default=("sweeps", "advice"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    if "sweeps" in options.only:
        rows += [alone(time_sweep, name) for name in SWEEPS]
    if "advice" in options.only:
        rows += [alone(time_advice, name) for name in ("largest", "advice and combination")]
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n")
        return
    sys.stdout.write(f"{'':24} points  traces  first s  all s  CPU s  on {os.cpu_count()} cores\n")
    for row in rows:
        figures = (
            f"{row.points:6}  {row.traces:6}  {row.first_seconds:7.1f}  {row.seconds:5.1f}  {row.cpu_seconds:5.1f}"
        )
        sys.stdout.write(f"{row.name:24} {figures}  {row.base_model}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
