"""YAML of strangers: one clear sentence for what cannot be read, and never more work than the text is long."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_explorer.errors import ExplorerError, UnreadableYaml
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.yaml_documents.reading import MOST_NODES, Node, read_document

ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join(['*' + old] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

UNREADABLE = [
    pytest.param("- adapter: lora\n- lora_r: 8\n", "The YAML is a list", id="list"),
    pytest.param("adapter", "The YAML is a single value", id="scalar"),
    pytest.param("", "The YAML is empty.", id="empty"),
    pytest.param("# only a comment\n", "The YAML is empty.", id="comment"),
    pytest.param("adapter: lora\n\tlora_r: 8\n", "Line 2, column 1: YAML does not take a tab", id="tab"),
    pytest.param("\tadapter: lora\n", "Line 1, column 1: YAML does not take a tab", id="tab first"),
    pytest.param("adapter: [lora\n", "Line 2, column 1: the YAML cannot be read", id="open bracket"),
    pytest.param("lora_r: 8: 9\n", "Line 1, column 10: the YAML cannot be read", id="two colons"),
    pytest.param("x" * 10_000_000, "The YAML is larger than 256 KiB", id="10 MB"),
    pytest.param("a: 1\na: 2\n", "Line 2: the key a is given twice, first on line 1.", id="same key"),
    pytest.param(ALIAS_BOMB, f"more than {MOST_NODES:,} values with its aliases written out", id="alias bomb"),
    pytest.param(MERGE_BOMB, f"more than {MOST_NODES:,} values with its aliases written out", id="merge bomb"),
    pytest.param("a: &a [*a]\n", "Line 1, column 8: *a refers to the value it stands in.", id="endless alias"),
    pytest.param("a: *b\n", "Line 1, column 4: *b refers to an anchor that is not there.", id="no anchor"),
    pytest.param("a: !!python/object/apply:os.system [ls]\n", "the tag !!python/object/apply:os.system", id="python"),
    pytest.param("a: !!binary aGk=\n", "Line 1: the tag !!binary is not allowed", id="binary"),
    pytest.param("a: !env HOME\n", "Line 1: the tag !env is not allowed", id="own tag"),
    pytest.param("a: 1\n---\nb: 2\n", "a second document starts", id="two documents"),
    pytest.param("a: \x00\n", "Line 1: the character U+0000 cannot stand in YAML.", id="NUL"),
    pytest.param("a: \udc80\n", "Line 1: the file is not UTF-8 text.", id="no UTF-8"),
    pytest.param('a: "\\ud800"\n', "half a character", id="half a character"),
    pytest.param("[" * 100_000, "nested more than", id="deep list"),
    pytest.param("? " * 20_000, "nested more than", id="deep keys"),
    pytest.param("? [a, b]\n: 1\n", "a key must be a name", id="list as key"),
    pytest.param("a: 2024-13-45\n", "a number or date that cannot be read", id="no date"),
    pytest.param("a: 0b_\n", "a number or date that cannot be read", id="no number"),
    pytest.param(f"a: {'9' * 10_000}\n", "a number of 10,000 characters is too long", id="long number"),
    pytest.param("<<: 3\n", "Line 1, column 5: the YAML cannot be read", id="merged number"),
    pytest.param("%YAML 3.0\n---\na: 1\n", "the YAML cannot be read", id="other YAML"),
]


@pytest.mark.parametrize(("text", "sentence"), UNREADABLE)
def test_what_cannot_be_read_gets_one_sentence_at_once(text: str, sentence: str):
    start = time.process_time()
    with pytest.raises(UnreadableYaml) as caught:
        read_document(text)
    assert time.process_time() - start < 2
    message = str(caught.value)
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 250


# Where a parser's time could grow faster than the text: each fills the largest text that is read.
SLOW = {
    "one long text": "a: " + "x " * 130_000,
    "many lines": "a\n" * 130_000,
    "a long block": "a: |\n" + " x\n" * 85_000,
    "many comments": "a: 1\n" + "# x\n" * 65_000,
    "many values": "a: [" + "1," * 130_000 + "]",
    "many anchors": "\n".join(f"k{number}: &a{number} v" for number in range(12_000)),
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW.keys())
def test_a_large_text_is_read_or_refused_in_two_seconds(text: str):
    start = time.process_time()
    with suppress(UnreadableYaml):
        read_document(text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "base: &base {lora_r: 8, lora_alpha: 16}\n<<: *base\nlora_r: 4\n",
        "<<: {a: 1}\na: 2\n",
        "a: yes\nb: on\nc: 0o7\nd: 2e-4\ne: 1_000\nf: ~\n",
        'a: "text"\nb: !!str 5\nc: |\n  lines\n  of text\n',
        "\ufeffa: 1\n",
        "---\na: 1\n...\n",
        "{a: 1, b: [2, 3]}",
    ],
)
def test_values_are_those_that_axolotl_reads(text: str):
    assert read_document(text).values == yaml.safe_load(text)


def _check_places(node: Node, text: str) -> None:
    assert 0 <= node.start <= node.end <= len(text)
    for child in node.children:
        assert node.start <= child.start
        assert child.end <= node.end
        _check_places(child, text)


def test_every_value_stands_where_it_says():
    text = "a: 1\nb:\n  - x # why\n  - 'y'\n# below\nc: {d: [e]}\n"
    root = read_document(text).root
    _check_places(root, text)
    scalars = [text[node.start : node.end] for node in root.walk() if node.kind == "scalar"]
    assert scalars == ["a", "1", "b", "x", "'y'", "c", "d", "e"]
    found = root.value_of("b")
    assert found is not None
    assert text[found[1].start : found[1].end] == "- x # why\n  - 'y'"


WORDS = ("adapter", "lora_r", "peft", "lora_target_modules", "8", "lora", "2e-4", "é", "\x85")
SIGNS = (": ", ":", "\n", "\n  ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<", "!!str ", "!x ", "'", '"', "|", ">", "#")
ODD = ("\t", ",", "? ", "%", "@", "~", "\\", "---", "...")
PIECES = st.sampled_from((*WORDS, *SIGNS, *ODD))


@settings(max_examples=400, deadline=2000)
@given(st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=60)))
def test_no_text_breaks_the_reader(text: str):
    sentences: list[str] = []
    try:
        assert import_axolotl(text).text == text
    except ExplorerError as error:
        sentences = [finding.message for finding in error.findings]
    assert all(sentence.endswith((".", "?")) for sentence in sentences)
