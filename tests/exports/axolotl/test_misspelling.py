"""A misspelt key is recognised, in a file of nothing else as well."""

from __future__ import annotations

import time
from difflib import get_close_matches

from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.axolotl.misspelling import vocabulary

NAMES = tuple(known_keys().names)


@given(st.sampled_from(NAMES), st.data())
def test_a_key_with_one_letter_too_few_is_recognised_as_difflib_does(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    word = name[:place] + name[place + 1 :]
    assert vocabulary(NAMES).nearest(word) in get_close_matches(word, NAMES, n=3, cutoff=0.6)


def test_what_is_like_nothing_is_like_nothing() -> None:
    assert vocabulary(NAMES).nearest("zzzz") is None
    assert vocabulary(NAMES).nearest("") is None
    assert vocabulary(()).nearest("lora_r") is None


def test_thousands_of_unknown_keys_do_not_keep_anyone_waiting() -> None:
    text = "".join(f"lora_unknown_{number}: 1\n" for number in range(5000))
    start = time.process_time()
    assert len(import_axolotl(text).findings) > 5000
    assert time.process_time() - start < 2
