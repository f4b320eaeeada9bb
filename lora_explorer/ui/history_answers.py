"""The kept runs: listed, laid over each other, deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_explorer.errors import ExplorerError
from lora_explorer.preview.run_folder import RunFolder, home
from lora_explorer.preview.supervision import history
from lora_explorer.preview.supervision.ownership import hashed
from lora_explorer.report import loss_chart, notes, run_list
from lora_explorer.report.html import Html
from lora_explorer.ui.preview_desk import Wish
from lora_explorer.ui.run_answers import RunAnswers

Outputs = Any


@dataclass(frozen=True)
class HistoryAnswers:
    """runs: what is done with single ones."""

    runs: RunAnswers

    def listed(self, sent_wish: Any) -> Outputs:
        """Outputs: what is wrong, the list, and the curves of those that are picked."""
        wish = Wish.from_page(sent_wish)
        return Html(""), self._list(wish), self.overlay(sent_wish)

    def overlay(self, sent_wish: Any) -> Html:
        """Output: the curves of the picked runs that are still there."""
        wish = Wish.from_page(sent_wish)
        there = {summary.id for summary in self._summaries(wish.owner)}
        return loss_chart.overlaid(history.curves(run for run in wish.picked if run in there))

    def remove(self, sent_wish: Any, sent_shown: Any) -> Outputs:
        """Outputs: as of `listed`, what is wrong beside the run, then the run on the page, if it was that one."""
        wish = Wish.from_page(sent_wish)
        try:
            self.runs.delete(wish.asked, wish.owner)
        except ExplorerError as error:
            complaint = notes.complaint(str(error))
            return (
                complaint,
                self._list(wish),
                self.overlay(sent_wish),
                complaint,
                *self.runs.follow(sent_wish, sent_shown),
            )
        self.runs.following.forget(wish.asked)
        return *self.listed(sent_wish), Html(""), *self.runs.follow(sent_wish, sent_shown)

    def _list(self, wish: Wish) -> Html:
        return run_list.run_list(self._summaries(wish.owner), wish.picked)

    def _summaries(self, owner: str) -> list[history.RunSummary]:
        """A stranger sees only runs of the own browser; at home all that this machine keeps are seen."""
        if not self.runs.public:
            return history.runs(None)
        mine = hashed(owner)
        found = history.runs(owner) if mine else []
        return [run for run in found if RunFolder(home() / "runs" / run.id).read("owner") == mine]
