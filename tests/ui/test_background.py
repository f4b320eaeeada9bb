"""Many predictions in a row: each is asked only while somebody waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lora_explorer.base_models import Access
from lora_explorer.exploration.advice import find_advice, find_combination
from lora_explorer.exploration.prediction import Question
from lora_explorer.exploration.search import find_all_largest
from lora_explorer.memory import find_card
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.background import Background
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.interests import NobodyWaits
from lora_explorer.ui.tracer import InProcess

TEXT = "base_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_linear: true\n"
READ = Answers(Access(hub=False, folders=False)).read(Draft(TEXT + "sequence_len: 4096\nmicro_batch_size: 64\n"))
CARD = find_card("RTX 3070")
QUESTION = Question(READ.recipe, READ.base_model, (CARD,))
ENOUGH = 3


class Patience:
    """Waits for a few questions and then no more."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked <= ENOUGH


def _situation(background: Background) -> Any:
    return background.situation(READ.recipe, READ.base_model, CARD, expandable_segments=True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda background: find_combination(_situation(background)),
        lambda background: list(find_advice(_situation(background))),
        lambda background: list(find_all_largest(READ.recipe, READ.base_model, CARD, ask=background.predict)),
    ],
    ids=["combination", "advice", "largest"],
)
def test_a_search_ends_in_its_midst_once_nobody_waits(ask: Callable[[Background], Any]) -> None:
    patience = Patience()
    with pytest.raises(NobodyWaits):
        ask(Background(InProcess(), patience))
    assert patience.asked == ENOUGH + 1


def test_cards_are_not_looked_at_for_nobody() -> None:
    with pytest.raises(NobodyWaits):
        Background(InProcess(), lambda: False).offers(QUESTION)


def test_what_is_waited_for_is_answered() -> None:
    smaller = QUESTION._replace(recipe=READ.recipe.changed(micro_batch_size=1, sequence_len=512))
    offers = Background(InProcess(), lambda: True).offers(smaller)
    assert {offer.fit.fits for offer in offers} == {True}
