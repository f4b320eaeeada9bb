"""Numbers are written in one way on the whole page: by `words`, with separators, and a space before a unit."""

from __future__ import annotations

import re
from pathlib import Path

import lora_explorer.report

SOURCES = sorted(Path(lora_explorer.report.__file__).parent.rglob("*.py"))
COUNTED = r"\{[\w.]*(?:_params|_bytes|_tokens|_rows|_steps)\}"


WRONG = {
    "a share without a space before its sign": r"\{[^{}]*:\.\d%\}",
    "a count without separators": COUNTED,
    "a unit without a space before it": r"[\d}](?:GiB|MiB|KiB)\b",
}


def test_no_sentence_writes_a_number_in_a_way_of_its_own() -> None:
    texts = {source.stem: source.read_text(encoding="utf-8") for source in SOURCES}
    found = {(name, what) for what, wrong in WRONG.items() for name, text in texts.items() if re.search(wrong, text)}
    assert found == set()
