"""What takes many predictions, asked one by one where it slows nothing, for as long as somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_explorer.base_models import BaseModel
from lora_explorer.memory import Card
from lora_explorer.settings import Recipe
from lora_explorer.ui.interests import NobodyWaits
from lora_explorer.ui.tracer import Memory

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Situation
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.pace import Pace
    from lora_explorer.exploration.prediction import Prediction, Question
    from lora_explorer.exploration.several_cards import TogetherFit
    from lora_explorer.memory import MemoryEstimate


@dataclass(frozen=True)
class Background:
    """memory: who answers. is_waited_for: asked before each question; each raises NobodyWaits once it is not."""

    memory: Memory
    is_waited_for: Callable[[], bool]

    def situation(self, recipe: Recipe, base_model: BaseModel, card: Card, *, expandable_segments: bool) -> Situation:
        """What is to be helped, every change of it traced here."""
        from lora_explorer.exploration.advice import Situation

        return Situation(recipe, base_model, card, expandable_segments, self.estimate, self.pace)

    def estimate(
        self, recipe: Recipe, base_model: BaseModel, *, card: Card | None, expandable_segments: bool
    ) -> MemoryEstimate:
        self._go_on()
        return self.memory.estimate(recipe, base_model, card=card, expandable_segments=expandable_segments)

    def pace(self, recipe: Recipe, base_model: BaseModel, card: Card | None) -> Pace | None:
        from lora_explorer.exploration.pace import pace_of

        pace: Pace | None = self._ask(pace_of, recipe, base_model, card)
        return pace

    def predict(self, question: Question) -> Prediction:
        from lora_explorer.exploration.prediction import predict

        prediction: Prediction = self._ask(predict, question)
        return prediction

    def offers(self, question: Question) -> tuple[CardOffer, ...]:
        """The cards that run it, the cheapest first. Raises ExplorerError."""
        from lora_explorer.exploration.card_offers import find_offers

        offers: tuple[CardOffer, ...] = self._ask(find_offers, question)
        return offers

    def together(self, question: Question) -> tuple[TogetherFit, ...]:
        """What the run comes to on several of the question's card. Raises ExplorerError."""
        from lora_explorer.exploration.several_cards import WAYS, fit_together

        return tuple(self._ask(fit_together, question, way) for way in WAYS)

    def _ask(self, asked: Callable[..., Any], *about: Any) -> Any:
        self._go_on()
        return self.memory.ask(asked, *about)

    def _go_on(self) -> None:
        if not self.is_waited_for():
            raise NobodyWaits
