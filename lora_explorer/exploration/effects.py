"""What does this setting change, from here? Its neighbouring values, and what each of them would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_explorer.exploration.prediction import Prediction, Question, count, predict
from lora_explorer.exploration.sweep import Ask


@dataclass(frozen=True)
class Effect:
    """One value of a setting. label: as it is read. changes: what makes it current, nothing for the present one."""

    label: str
    changes: Mapping[str, Any]
    prediction: Prediction


@dataclass(frozen=True)
class Effects:
    """here: the present value. others: its neighbours."""

    setting: str
    here: Effect
    others: tuple[Effect, ...]


def count_effects(setting: str, question: Question) -> Effects:
    """What each neighbour trains and saves, and its scale; nothing about memory yet. Raises UnknownBaseModel.

    question: what is explored from; setting: by its field name.
    """
    # Through the package, which makes threads wait for each other; transformers is not loaded by two at once.
    import lora_explorer.adapters  # noqa: F401
    from lora_explorer.base_models.skeleton import load_skeleton
    from lora_explorer.exploration.neighbours import neighbours_of

    found = neighbours_of(setting, question.recipe, load_skeleton(question.base_model))
    return Effects(
        setting,
        Effect("now", {}, count(question)),
        tuple(Effect(each.label, each.changes, count(_changed(question, each.changes))) for each in found),
    )


def with_memory(effects: Effects, question: Question, ask: Ask = predict) -> Iterator[Effects]:
    """The same with one more effect's memory each time, the present value's first."""
    effects = replace(effects, here=_asked(effects.here, question, ask))
    yield effects
    for number, effect in enumerate(effects.others):
        others = (*effects.others[:number], _asked(effect, question, ask), *effects.others[number + 1 :])
        effects = replace(effects, others=others)
        yield effects


def _asked(effect: Effect, question: Question, ask: Ask) -> Effect:
    return replace(effect, prediction=ask(_changed(question, effect.changes)))


def _changed(question: Question, changes: Mapping[str, Any]) -> Question:
    return question._replace(recipe=question.recipe.changed(**changes))
