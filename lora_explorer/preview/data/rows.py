"""The rows of a choice of data, wherever they come from, checked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lora_explorer import presets
from lora_explorer.base_models import Access
from lora_explorer.preview.data.choice import check_choice, check_template
from lora_explorer.preview.data.columns import Record, check_records, with_type
from lora_explorer.preview.data.files import file_label, read_file
from lora_explorer.preview.data.hub_rows import hub_rows
from lora_explorer.preview.data.refusal import quoted, refusal, shown
from lora_explorer.preview.request import DataChoice

EVERYTHING = Access()
MOST_ROWS = 10_000
MOST_PUBLIC_ROWS = 2_000
BUILT_IN_SETS = {
    "instructions": "Instructions: short answers on cards (alpaca)",
    "conversations": "Conversations: at a library's desk (chat_template)",
}


@dataclass(frozen=True)
class Rows:
    """Rows as they were found, in order.

    choice: as asked for, its type filled in. label: what to call them in a sentence. notes: sentences on what was
    left out.
    """

    choice: DataChoice
    records: tuple[Record, ...]
    label: str
    notes: tuple[str, ...] = ()


def load_rows(choice: DataChoice, *, access: Access = EVERYTHING) -> Rows:
    """Read and check the rows of a choice. Raises PreviewRefused with one sentence at `datasets`."""
    check_choice(choice, access=access)
    most_rows = MOST_ROWS if access.folders else MOST_PUBLIC_ROWS
    label = choice.name if choice.origin == "hub" else file_label(Path(choice.name))
    # One more than is used tells that there are more.
    records = _read(choice, most_rows + 1)
    if not records:
        raise refusal(f"{label} has no rows.")
    more = (f"Only the first {most_rows:,} rows of {label} are used.",) if len(records) > most_rows else ()
    used = tuple(records[:most_rows])
    typed = with_type(choice, used, label)
    check_template(typed, access=access)
    check_records(typed, used, label)
    return Rows(typed, used, label, (*choice.notes, *more))


def built_in_file(name: str) -> Path:
    """The file of a built-in set. Raises PreviewRefused for a name that is none."""
    if name not in BUILT_IN_SETS:
        raise refusal(f"There is no built-in data set {shown(name)!r}; there are {quoted(list(BUILT_IN_SETS))}.")
    return presets.folder() / "datasets" / f"{name}.jsonl"


def _read(choice: DataChoice, most_rows: int) -> list[dict[str, Any]]:
    if choice.origin == "hub":
        return hub_rows(choice, most_rows)
    if choice.origin == "built-in":
        return list(read_file(built_in_file(choice.name)))
    return list(islice(read_file(Path(choice.name)), most_rows))
