"""A newer question makes an older one of the same visitor old, and nobody else's."""

from __future__ import annotations

from lora_explorer.ui import turns
from lora_explorer.ui.turns import Turns


def test_only_the_newest_question_of_a_visitor_is_new() -> None:
    asked = Turns()
    first, other, second = asked.take("a"), asked.take("b"), asked.take("a")
    assert not asked.is_newest("a", first)
    assert asked.is_newest("a", second)
    assert asked.is_newest("b", other)


def test_of_visitors_not_heard_of_for_long_nothing_is_kept() -> None:
    asked = Turns()
    first = asked.take("first")
    for number in range(turns._MOST_VISITORS):
        asked.take(str(number))
    assert not asked.is_newest("first", first)
    assert len(asked._newest) == turns._MOST_VISITORS
