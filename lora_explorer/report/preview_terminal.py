"""A run on a terminal: a bar while it goes, a line an event where there is no terminal, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lora_explorer.preview import events as told
from lora_explorer.preview.events import Event
from lora_explorer.report import words
from lora_explorer.report.preview_memory import explanation
from lora_explorer.report.preview_progress import sentence_of
from lora_explorer.report.preview_story import RunStory, story_of

if TYPE_CHECKING:
    from lora_explorer.preview.run_folder import RunFolder
    from lora_explorer.preview.supervision.history import RunSummary

_MIDDLE_DOT = " · "


class RunScreen:
    """What a terminal shows of a run: its bar in the last lines, and what is worth keeping above them.

    Without a terminal every event that says something is a line of its own.
    """

    def __init__(self) -> None:
        self.story = RunStory()
        self._console = Console(soft_wrap=False, highlight=False)
        self._live = Live(console=self._console, transient=True, refresh_per_second=4)

    def __enter__(self) -> RunScreen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, event: Event) -> None:
        """Show what has happened."""
        self.story = story_of([event], self.story)
        is_passing = self._console.is_terminal and event.kind in ("waiting", "stage", "step")
        if not is_passing:
            for line in lines_of(event, self.story):
                self._console.print(Text(_printable(line)), soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(_bar(self.story, self._console.width), refresh=True)


def lines_of(event: Event, story: RunStory) -> tuple[str, ...]:
    """An event in words; none for what the summary says. story: with the event in it."""
    say = _LINES.get(event.kind)
    return say(event, story) if say else ()


def show_run(story: RunStory, folder: RunFolder) -> None:
    """How it ended, predicted and measured memory, answers before and after, and where the adapter lies."""
    _show(Text(_printable(sentence_of(story))), *(Text(line) for line in _loss_lines(story)))
    if story.measured is not None:
        _show(Text(explanation(story.measured)), _memory_table(story.measured))
    if story.samples:
        _show(*_answers(story.samples))
    _show(Text(f"Run {folder.id} is kept in {folder.path}."))
    if folder.adapter.is_dir():
        _show(Text(f"The adapter is in {folder.adapter}."))


def show_runs(runs: Iterable[RunSummary]) -> None:
    """What each run was and how it went, newest first."""
    table = _table("", ("Run", "Steps", "Last loss", "Peak", "Status"))
    # Its id is to be copied, so it stays in one piece.
    table.columns[0].min_width = 24
    for run in runs:
        loss = f"{run.last_loss:.3f}" if run.last_loss is not None else "–"
        peak = words.file_size(run.peak_bytes) if run.peak_bytes is not None else "–"
        steps = f"{run.steps_done:,} of {run.steps:,}"
        table.add_row(*map(Text, (f"{run.id}\n{_printable(run.title)}", steps, loss, peak, run.status)))
    _show(table if table.row_count else Text("No run is kept yet; `lora-explorer preview CONFIG` starts one."))


def _bar(story: RunStory, width: int) -> RenderableType:
    bar = ProgressBar(total=max(story.planned_steps, 1), completed=story.done_steps, width=min(width, 60))
    figures = _figures(story.steps[-1], story) if story.steps and not story.stage else ""
    rows = Table.grid()
    for row in (Text(_printable(sentence_of(story))), bar, Text(figures)):
        rows.add_row(row)
    return rows


def _figures(step: told.Step, story: RunStory) -> str:
    left = story.seconds_left
    said = (
        f"step {step.step:,} of {story.planned_steps:,}",
        f"loss {step.loss:.4g}" if step.loss is not None else None,
        f"learning rate {words.power(step.learning_rate)}",
        f"{step.tokens_per_second:,.0f} tokens/s",
        f"gradient norm {step.grad_norm:.3g}" if step.grad_norm is not None else None,
        words.file_size(step.memory_bytes),
        f"{words.duration(left)} left" if left else None,
    )
    return _MIDDLE_DOT.join(part for part in said if part)


def _begun(event: told.Started, story: RunStory) -> tuple[str, ...]:
    notes = (f"note: {note}" for note in event.notes)
    return f"Run {event.run} on {event.device}: {words.counted(event.steps, 'step')}.", *notes


def _evaluated(event: told.Evaluation, story: RunStory) -> tuple[str, ...]:
    return (f"after step {event.step:,}: loss {event.eval_loss:.4g} over the rows kept aside",)


_Lines = Mapping[str, Callable[[Any, RunStory], tuple[str, ...]]]
_LINES: _Lines = {
    "waiting": lambda event, story: (sentence_of(story),),
    "started": _begun,
    "stage": lambda event, story: (f"{event.message}…",),
    "step": lambda event, story: (_figures(event, story),),
    "evaluation": _evaluated,
    "log": lambda event, story: (f"note: {event.message}",),
}


def _loss_lines(story: RunStory) -> Iterable[str]:
    losses = [(step.step, step.loss) for step in story.steps if step.loss is not None]
    if len(losses) > 1:
        (first_step, first), (last_step, last) = losses[0], losses[-1]
        yield f"Loss {first:.4g} in step {first_step:,}, {last:.4g} in step {last_step:,}."
    if story.steps and not story.loss_means_something:
        yield "The weights are random, so there is no loss to show."


def _memory_table(measured: told.Measured) -> Table:
    table = _table("Memory of one step", ("", "Predicted", "Measured"))
    figures = {_figure_name(key): (size, measured.measured.get(key)) for key, size in measured.predicted.items()}
    names = dict.fromkeys((*measured.predicted_parts, *measured.measured_parts))
    parts = {
        f"  {name}": (measured.predicted_parts.get(name, 0), measured.measured_parts.get(name, 0)) for name in names
    }
    for name, (predicted, found) in (figures | parts).items():
        if found is not None and (predicted or found):
            table.add_row(name, words.file_size(predicted), words.file_size(found))
    return table


def _figure_name(key: str) -> str:
    return key.removesuffix("_bytes").replace("_", " ").capitalize()


def _answers(samples: Iterable[told.Sample]) -> Iterable[RenderableType]:
    """What was asked, and the answers one below another: side by side they would be columns of single words."""
    for sample in samples:
        table = _table("", ("", ""))
        rows = (
            ("Prompt", sample.prompt),
            ("Before", sample.before),
            ("After", sample.after),
            ("Data", sample.expected),
        )
        for name, said in rows:
            table.add_row(name, Text(_printable(said)))
        yield table


def _printable(said: str) -> str:
    """What a model or a data set says, without what would steer the terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in said)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _show(*parts: RenderableType) -> None:
    console = Console(soft_wrap=False, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))
