"""How a setting is declared: one pydantic field, from which widget, message, flag, key and docs are derived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ControlKind = Literal["slider", "number", "text", "checkbox", "choice", "names", "mapping"]


class Group(Enum):
    """The groups of controls, in the order of the page."""

    BASE_MODEL = "Base model"
    ADAPTER = "Adapter"
    TARGETS = "Targets"
    TRAINING = "Training"
    HARDWARE = "Speed and memory"


@dataclass(frozen=True)
class Control:
    """How a value is entered. A slider's range is where it is moved, not what is allowed: bounds are on the type."""

    kind: ControlKind
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    placeholder: str = ""
    accepts_other: bool = False


@dataclass(frozen=True)
class InTools:
    """The names that hold the very same value elsewhere; dotted where they are nested.

    peft: a field of LoraConfig. trainer: a field of transformers' TrainingArguments, which several tools share.
    What is said elsewhere by another value, or by several keys, is converted in that tool's module in `exports`.
    """

    peft: str = ""
    trainer: str = ""
    trl: str = ""
    llama_factory: str = ""
    unsloth: str = ""
    torchtune: str = ""
    ms_swift: str = ""
    mlx_lm: str = ""

    def of(self, tool: str) -> str:
        """The name in one tool; empty where it has none."""
        own: str = getattr(self, tool)
        return own or (self.trainer if tool in _WITH_TRAINER else "")


_WITH_TRAINER = frozenset({"trl", "llama_factory", "unsloth", "ms_swift"})


def always(recipe: Any) -> bool:
    return True


def has_adapter(recipe: Any) -> bool:
    """Without one every parameter is trained, and what is about LoRA does not matter."""
    return bool(recipe.adapter)


@dataclass(frozen=True)
class Declaration:
    """What pydantic does not keep of a setting. Callable, so that it also writes itself into the JSON schema."""

    explanation: str
    source: str
    more: bool
    shown_when: Callable[[Any], bool]
    key: str

    def __call__(self, schema: dict[str, Any]) -> None:
        if self.explanation:
            schema["markdownDescription"] = f"{schema.get('description', '')}\n\n{self.explanation}"
        if self.source:
            schema["x-source"] = self.source


def setting(  # noqa: PLR0913 - a declaration names everything there is to say about a setting
    default: Any,
    *,
    label: str,
    help: str,
    explanation: str = "",
    source: str = "",
    more: bool = True,
    shown_when: Callable[[Any], bool] = always,
    key: str = "",
) -> Any:
    """Declare one setting.

    default: what Axolotl does when the key is absent or null.
    help: one sentence on the effect, for someone choosing a value.
    explanation: the longer story; source: where its facts come from.
    more: kept under *More* in its group.
    shown_when: a predicate on the recipe; the control is hidden while it is false.
    key: the dotted YAML key where it differs from the field's name.
    """
    declaration = Declaration(explanation, source, more, shown_when, key)
    return Field(default, title=label, description=help, json_schema_extra=declaration)


class Settings(BaseModel):
    """Base of every group of settings: frozen, hashable, and null means the same as absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    group: ClassVar[Group]

    @model_validator(mode="before")
    @classmethod
    def _null_means_absent(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Setting:
    """One setting as everything else sees it, derived from its declaration."""

    name: str
    key: str
    label: str
    help: str
    explanation: str
    source: str
    group: Group
    more: bool
    default: Any
    control: Control
    minimum: float | None
    maximum: float | None
    below: float | None
    in_tools: InTools
    shown_when: Callable[[Any], bool] = field(repr=False, compare=False)

    @property
    def path(self) -> tuple[str, ...]:
        """The nesting of the key in the YAML."""
        return tuple(self.key.split("."))
