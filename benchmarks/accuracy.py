"""Hold memory predictions against measured runs.

    python benchmarks/accuracy.py FILE.jsonl... [--json | --markdown | --update-readme] [--full-depth]

Each line of a file is one measured run: the model's config, the adapter, the training loop, and what was measured.
A row or column that is not known is an error, never skipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from accuracy_table import README, Comparison, TableMissing, markdown, print_tables, summarize, updated
from measured_rows import (
    PEER_QUANTITIES,
    QUANTITIES,
    Row,
    UnknownRow,
    adapter_of,
    card_of,
    complete,
    is_only_relative,
    model_of,
    step_of,
)

from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import ExplorerError
from lora_explorer.memory import Card
from lora_explorer.memory.replay.timeline import Replay, replay
from lora_explorer.memory.runs.races import typical_run
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.tracing.events import Timeline

# Of runs that can only be compared with each other, the one that the others are held against.
REFERENCE_ENDING = "-rank32"


def main() -> int:
    options = _parser().parse_args()
    try:
        compared = {file.stem: list(compare_all(_rows(file), full_depth=options.full_depth)) for file in options.files}
        _show(compared, options)
    except (UnknownRow, TableMissing, ExplorerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the summary as a Markdown table")
    output.add_argument("--update-readme", action="store_true", help="write that table between README.md's markers")
    parser.add_argument("--full-depth", action="store_true", help="trace every layer of every model")
    return parser


def _rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _show(compared: dict[str, list[Comparison]], options: argparse.Namespace) -> None:
    together = [comparison for comparisons in compared.values() for comparison in comparisons]
    if options.json:
        print(json.dumps({"rows": [asdict(each) for each in together], "summary": summarize(together)}))
    elif options.markdown:
        print(markdown(compared))
    elif options.update_readme:
        README.write_text(updated(README.read_text(encoding="utf-8"), markdown(compared)), encoding="utf-8")
    else:
        print_tables(together)


def compare_all(rows: Sequence[Row], *, full_depth: bool = False) -> Iterator[Comparison]:
    """Every row of a file, and those that can only be compared with each other also as ratios. Raises UnknownRow."""
    relative: list[Comparison] = []
    for row in rows:
        for comparison in compare(row, full_depth=full_depth):
            yield comparison
            if not comparison.comparable:
                relative.append(comparison)
    reference = next((each for each in relative if each.id.endswith(REFERENCE_ENDING)), None)
    if reference is not None:
        yield from (_ratio(each, reference) for each in relative if each is not reference)


def compare(row: Row, *, full_depth: bool = False) -> Iterator[Comparison]:
    """Predict a row and hold every known quantity against what was measured. Raises UnknownRow."""
    row = complete(row)
    predicted = predict(row, full_depth=full_depth)
    peer = {PEER_QUANTITIES[k]: v for k, v in (row.get("peer_prediction") or {}).items() if k in PEER_QUANTITIES}
    for column, measured in row["measured"].items():
        quantity = QUANTITIES[column]
        if quantity is None or measured is None:
            continue
        peer_error = _percent(peer[quantity], measured) if quantity in peer else None
        value = predicted[quantity]
        # Counts do not depend on how long a batch is.
        comparable = quantity.endswith("params") or not is_only_relative(row)
        yield Comparison(row["id"], quantity, value, measured, _percent(value, measured), peer_error, comparable)


def predict(row: Row, *, full_depth: bool = False) -> dict[str, int]:
    """Every quantity of a completed row, predicted. Raises UnknownRow."""
    card = card_of(row)
    step = step_of(row, card)
    skeleton = load_skeleton(model_of(row))
    run = trace_run(skeleton, step, adapter_of(row), full_depth=full_depth)
    timeline, result = typical_run(run, step, card.workspace_bytes)
    if result.peak_reserved_bytes > card.capacity_bytes:
        result = replay(timeline, card.capacity_bytes)
    reserved = _reserved_from_an_empty_cache(timeline, card) if is_only_relative(row) else result.peak_reserved_bytes
    trainable = sum(_numel(tensor.shape) for tensor in run.trained)
    adapted = row.get("adapter") or row.get("peft_config")
    context = row["measured"].get("cuda_context_bytes", card.context_bytes)
    return {
        "allocated_after_load": result.after_load_bytes,
        "peak_forward": result.peaks_bytes.get("forward", 0),
        "peak_backward": result.peaks_bytes.get("backward", 0),
        "peak_optimizer": result.peaks_bytes.get("optimizer", 0),
        "peak_allocated": result.peak_allocated_bytes,
        "peak_reserved": reserved,
        "process": reserved + context,
        "trainable_params": trainable,
        "all_params": skeleton.total_params + (trainable if adapted else 0),
    }


def _reserved_from_an_empty_cache(timeline: Timeline, card: Card) -> int:
    """Most reserved in the second step if `torch.cuda.empty_cache` is called before it.

    PEFT's script calls it every ten steps and sorts twenty batches at a time, the longest first: the longest batch
    always meets an empty cache.
    """
    phases = [(start, segment.phase) for start, segment in timeline.marks]
    begins = next(
        start
        for (start, phase), (_, before) in zip(phases[1:], phases, strict=False)
        if before == "optimizer" and phase == "forward"
    )
    timeline.emptied.append(begins)
    result: Replay = replay(timeline, card.capacity_bytes)
    return int(result.occupancy.reserved_bytes[begins:].max())


def _ratio(variant: Comparison, reference: Comparison) -> Comparison:
    predicted, measured = variant.predicted / reference.predicted, variant.measured / reference.measured
    return Comparison(variant.id, f"{variant.quantity}_relative", predicted, measured, _percent(predicted, measured))


def _percent(predicted: float, measured: float) -> float:
    return 100 * (predicted - measured) / measured


def _numel(shape: tuple[int, ...]) -> int:
    product = 1
    for extent in shape:
        product *= extent
    return product


if __name__ == "__main__":
    raise SystemExit(main())
