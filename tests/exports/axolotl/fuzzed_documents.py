"""YAML documents that hypothesis makes: the features of YAML around real keys, and real texts with odd changes."""

from __future__ import annotations

from hypothesis import strategies as st
from recipe_values import TEXTS, VALUES

from lora_explorer import presets
from lora_explorer.exports.axolotl.order import usual_order
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.settings import SETTINGS

PLAIN_NAMES = sorted(name for name, setting in SETTINGS.items() if setting.key == name)
KEYS = st.one_of(
    st.sampled_from(sorted({*usual_order()} - {*PLAIN_NAMES})),
    st.sampled_from(sorted(setting.path[0] for setting in SETTINGS.values())),
    st.sampled_from(["datasets", "lora_rank", "my_key", "é", "<<", "'quoted'", '"lora_r"', "a b", "1", "yes", "~"]),
)
IN_ONE_LINE = st.one_of(
    st.sampled_from(
        ["8", "16", "0.05", "2e-4", "1.0", "true", "yes", "Off", "auto", "null", "~", "", "lora", "qlora", "q_proj"]
    ),
    st.sampled_from(
        ["'it''s'", '"a\\tb"', "2024-01-02", "0x1f", "1_000", "12:30", ".nan", "-.inf", "!!str 8", "=", "é€😀"]
    ),
    st.sampled_from(["*a", "*b", "&a 8", "&b text", "&a", "[q_proj, v_proj]", "{q_proj: 8}", "[]", "{}", "[&a x, *a]"]),
    TEXTS.filter(lambda text: "\n" not in text and "\r" not in text),
)
SCALARS = st.one_of(
    IN_ONE_LINE,
    IN_ONE_LINE,
    st.sampled_from(
        ["|\n  lines\n  of text", ">-\n  folded\n  text", "'two\n  lines'", "plain\n  lines", "|+\n  kept\n\n"]
    ),
)
COMMENTS = st.sampled_from(["", "", "", " # why", "  #\ttab # twice", " # é 'quote\" [", " #"])
LINES_BETWEEN = st.sampled_from(
    ["", "", "\n", "# a line\n", "  # indented\n", "\n\n#- commented out\n", "   \n", "#\n"]
)
STARTS = st.sampled_from(["", "", "", "---\n", "# first\n", "%YAML 1.1\n---\n", "\ufeff", "--- # why\n", "\n\n"])
ENDS = st.sampled_from(["", "", "...\n", "# last", "\n\n", "# last\n", "\n...\n# more"])
BREAKS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0) -> str:
    """What stands behind a key and its colon, with its comments and its line end."""
    kind = draw(st.integers(0, 5 if depth < 2 else 3))
    indent = "  " * (depth + 1)
    if kind <= 3:
        value = draw(SCALARS)
        comment = "" if "\n" in value else draw(COMMENTS)
        return f" {value}{comment}\n"
    anchor = draw(st.sampled_from(["", "", " &a", " &b"]))
    first = f"{anchor}{draw(COMMENTS)}\n"
    if kind == 4:
        dash = draw(st.sampled_from([indent, "  " * depth, indent + "  "]))
        items = draw(st.lists(IN_ONE_LINE, min_size=1, max_size=4))
        return first + "".join(f"{dash}- {item}{draw(COMMENTS)}\n{draw(LINES_BETWEEN)}" for item in items)
    keys = draw(st.lists(st.sampled_from(["q_proj", "loftq_config", "loftq_bits", "k"]), min_size=1, max_size=3))
    return first + "".join(f"{indent}{key}:{draw(blocks(depth + 1))}{draw(LINES_BETWEEN)}" for key in keys)


@st.composite
def usable_settings(draw: st.DrawFn, name: str) -> str:
    """A setting with a value of its type, in braces or in lines, with comments."""
    lines = entries_as_text({name: draw(VALUES[name])}).splitlines()
    if len(lines) == 1:
        return f"{lines[0]}{draw(COMMENTS)}\n"
    # Where a text spans lines, a comment would be a part of it.
    plain = any(sign in line for line in lines for sign in "'\"|>")
    return "".join(f"{line}{'' if plain else draw(COMMENTS)}\n" for line in lines)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A block mapping of real and odd keys, in any layout."""
    keys = draw(st.lists(KEYS, max_size=4, unique=True))
    names = draw(
        st.lists(st.sampled_from(PLAIN_NAMES), max_size=6, unique=True).map(lambda names: set(names) - {*keys})
    )
    entries = [f"{key}:{draw(blocks())}" for key in keys] + [draw(usable_settings(name)) for name in sorted(names)]
    body = "".join(draw(LINES_BETWEEN) + entry for entry in draw(st.permutations(entries)))
    text = draw(STARTS) + body + draw(ENDS)
    text = text.replace("\n", draw(BREAKS))
    return text.rstrip() if draw(st.booleans()) else text


REAL = tuple(file.read_bytes().decode("utf-8") for file in sorted((presets.folder() / "recipes").glob("*.yml")))
ODD = st.one_of(st.sampled_from("\t\r\0\x85\u2028\ufeff:#&*!|>'\"%@`{}[],-? \n"), st.characters())


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A recipe that comes along, with lines cut, doubled and swapped, and characters in odd places."""
    lines = draw(st.sampled_from(REAL)).splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        here, there = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        kind = draw(st.integers(0, 5))
        if kind == 0 and len(lines) > 1:
            del lines[here]
        elif kind == 1:
            lines.insert(there, lines[here])
        elif kind == 2:
            lines[here], lines[there] = lines[there], lines[here]
        elif kind == 3:
            lines[here] = lines[here][: draw(st.integers(0, len(lines[here])))]
        elif kind == 4:
            lines[here] = " " * draw(st.integers(1, 4)) + lines[here]
        else:
            place = draw(st.integers(0, len(lines[here])))
            lines[here] = lines[here][:place] + draw(ODD) + lines[here][place:]
    return "".join(lines)


TEXT_OF_ANY_KIND = st.one_of(documents(), documents(), mutations(), mutations(), st.text(max_size=80))
