"""A misspelt key is recognised, in a file of nothing else as well."""

from __future__ import annotations

import time
from difflib import get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.axolotl.misspelling import is_slip, vocabulary

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


@pytest.mark.parametrize(
    ("word", "name", "slip"),
    [
        ("lora_alhpa", "lora_alpha", True),
        ("sequence_length", "sequence_len", True),
        ("micro_batchsize", "micro_batch_size", True),
        ("flash_attn", "flash_attn_d512", False),
        ("optim", "optimizer", False),
    ],
)
def test_only_a_slip_is_put_right_unasked(word: str, name: str, slip: bool) -> None:
    assert is_slip(word, name) is slip
