"""A question about another draft ends a visitor's interest in the one before, and nobody else's."""

from __future__ import annotations

from lora_explorer.ui import interests
from lora_explorer.ui.interests import Interests

FIRST, SECOND = {"text": "lora_r: 8"}, {"text": "lora_r: 16"}


def test_only_the_newest_draft_of_a_visitor_is_of_interest() -> None:
    asked = Interests()
    asked.note("a", FIRST)
    asked.note("b", FIRST)
    asked.note("a", SECOND)
    assert not asked.holds("a", FIRST)
    assert asked.holds("a", SECOND)
    assert asked.holds("b", FIRST)


def test_a_late_question_about_the_same_draft_ends_nothing() -> None:
    asked = Interests()
    asked.note("a", FIRST)
    asked.note("a", dict(FIRST))
    assert asked.holds("a", FIRST)


def test_of_visitors_not_heard_of_for_long_nothing_is_kept() -> None:
    asked = Interests()
    asked.note("first", FIRST)
    for number in range(interests._MOST_VISITORS):
        asked.note(str(number), FIRST)
    assert not asked.holds("first", FIRST)
    assert len(asked._drafts) == interests._MOST_VISITORS


def test_what_was_counted_is_kept_for_each_visitor_that_can_be_told_apart() -> None:
    asked = Interests()
    for visitor, draft in (("a", FIRST), ("b", SECOND), ("", SECOND)):
        asked.note_counted(visitor, draft)
    assert [asked.last_counted(visitor) for visitor in ("a", "b", "", "c")] == [FIRST, SECOND, None, None]
