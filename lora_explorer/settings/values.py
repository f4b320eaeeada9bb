"""Types of values that a recipe holds: frozen, so that a recipe can be a cache key."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

# Nothing sensible has a higher rank than the widest hidden size of today; on meta it costs nothing to allow it.
HIGHEST_RANK = 16384
HIGHEST_ALPHA = 1_000_000


class FrozenMapping(dict[str, Any]):
    """A mapping that is never changed after it was read, hashable by its content.

    Order counts: PEFT takes the first pattern that matches.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and list(self.items()) == list(other.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple((key, _hashable(value)) for key, value in self.items()))

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("A FrozenMapping does not change.")

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (dict(self),)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(item) for item in value)
    return value  # type: ignore[no-any-return]


def _not_true_or_false(value: Any) -> Any:
    # YAML's `yes` would otherwise pass as the number 1.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _frozen(value: Mapping[str, Any]) -> FrozenMapping:
    return FrozenMapping(value)


WholeNumber = Annotated[int, BeforeValidator(_not_true_or_false)]
Number = Annotated[float, BeforeValidator(_not_true_or_false), Field(allow_inf_nan=False)]
Names = tuple[str, ...]
Index = Annotated[WholeNumber, Field(ge=0)]
Indices = tuple[Index, ...]
LayerRange = tuple[Index, Index]
PatternOfRanks = Annotated[
    dict[str, Annotated[int, Field(gt=0, le=HIGHEST_RANK)]], AfterValidator(_frozen), PlainSerializer(dict)
]
PatternOfAlphas = Annotated[
    dict[str, Annotated[int, Field(gt=0, le=HIGHEST_ALPHA)]], AfterValidator(_frozen), PlainSerializer(dict)
]
IndicesByName = Annotated[dict[str, Indices], AfterValidator(_frozen), PlainSerializer(dict)]
Options = Annotated[dict[str, Any], AfterValidator(_frozen), PlainSerializer(dict)]
