"""Of all the ways in which loading can go, the one that stands for them."""

from __future__ import annotations

from collections.abc import Sequence

from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.replay.loading import races
from lora_explorer.memory.replay.timeline import Replay, replay
from lora_explorer.memory.runs.traced_run import TracedRun, timeline_of
from lora_explorer.memory.tracing.events import Timeline

# A choice: the share of races whose figures are to stay within the one that stands for all. It is a little above the
# middle, since being short of memory costs a run and a little to spare costs nothing; higher overstates the usual run.
ENOUGH_FOR = 0.6


def typical_run(
    run: TracedRun,
    step: Step,
    workspace_bytes: int,
    *,
    capacity_bytes: int | None = None,
    expandable_segments: bool = False,
) -> tuple[Timeline, Replay]:
    """The run and its replay. capacity_bytes: as `timeline.replay` takes it.

    Where the readers of a quantized checkpoint race, every figure (after loading, each phase's peak, what is reserved)
    differs from race to race; the race is taken whose figures are together nearest to what six of ten races keep
    within. Expanding segments leave no holes behind that the race could matter to.
    """
    count = 1 if expandable_segments else races(run.residents, run.loading)

    def raced(race: int) -> tuple[Timeline, Replay]:
        timeline = timeline_of(run, step, workspace_bytes, race)
        return timeline, replay(timeline, capacity_bytes, expandable_segments=expandable_segments)

    if count == 1:
        return raced(0)
    return raced(_typical([_figures(raced(race)[1]) for race in range(count)]))


def _figures(result: Replay) -> tuple[int, ...]:
    return (
        result.after_load_bytes,
        *result.peaks_bytes.values(),
        result.peak_allocated_bytes,
        result.peak_reserved_bytes,
    )


def _typical(figures: Sequence[tuple[int, ...]]) -> int:
    wanted = [sorted(column)[int(ENOUGH_FOR * len(figures))] for column in zip(*figures, strict=True)]

    def distance(race: int) -> float:
        return sum((abs(got / want - 1) for got, want in zip(figures[race], wanted, strict=True) if want), 0.0)

    return min(range(len(figures)), key=distance)
