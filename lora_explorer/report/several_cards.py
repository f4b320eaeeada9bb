"""What each of several cards needs for the same run, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import verdicts, words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.several_cards import Together, TogetherFit

_HEADINGS = ("how many", "the model", "each needs", "on each card")
_WAYS = {"none": "a copy on each", "full": "shared, as by FSDP"}
_ASSUMED = (
    "Each card takes micro_batch_size rows of its own. The model is shared where the YAML has fsdp_config; "
    "what NCCL allocates for itself is not counted."
)


def several_cards(found: Sequence[TogetherFit]) -> Html:
    """A row for each way that is known so far."""
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in _HEADINGS)))
    table = tag("table", head, tag("tbody", *map(_row, found)), class_="several-cards")
    return join(table, tag("p", _ASSUMED, class_="quiet-line"))


def _row(found: TogetherFit) -> Html:
    together, fit = found.together, found.fit
    way = (tag("th", _cards(together), scope="row"), tag("td", _WAYS[together.sharding]))
    if fit is None:
        return tag("tr", *way, tag("td", found.reason, colspan=2))
    held = None if fit.process_bytes is None else f"{words.gib(fit.process_bytes)} GiB"
    sign = tag("span", verdicts.mark(fit), aria_hidden="true", class_="mark")
    room = tag("small", verdicts.headroom_in_words(fit))
    verdict = tag("td", sign, tag("span", fit.verdict), room, class_=verdicts.kind(fit))
    return tag("tr", *way, tag("td", held, class_="number", data_value=fit.process_bytes), verdict)


def _cards(together: Together) -> str:
    return str(together.n_gpus) if together.sharding == "full" else f"{together.n_gpus} or more"
