"""Where keys stand in a text."""

from __future__ import annotations

import pytest

from lora_explorer.exports.yaml_documents.places import line_of
from lora_explorer.exports.yaml_documents.reading import read_document

TEXT = "# first\nlora_r: 8\npeft:\n  loftq_config:\n    loftq_bits: 4\nflow: {a: {b: 1}}\na.b: 2\n"


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("lora_r", 2),
        ("peft.loftq_config.loftq_bits", 5),
        ("peft.loftq_config.loftq_iter", 4),
        ("peft.other", 3),
        ("flow.a.b", 6),
        ("a.b", 7),
        ("lora_r.deeper", 2),
        ("absent", None),
        ("", None),
    ],
)
def test_a_key_is_found_where_it_stands_or_the_nearest_around_it(key: str, line: int | None) -> None:
    assert line_of(read_document(TEXT), key) == line
