"""What a preview is asked to do: a recipe, and the few choices that are no part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lora_explorer.base_models import Access, BaseModel
from lora_explorer.settings import Recipe, recipe_from

DatasetType = Literal["alpaca", "completion", "chat_template", "input_output"]
"""Axolotl's `type` of a data set: how a row becomes text, and which of its tokens are trained on."""
DataOrigin = Literal["built-in", "file", "hub"]
Weights = Literal["own", "bundled", "shape"]
"""own: the base model's. bundled: SmolLM2-135M-Instruct instead. shape: random ones in the base model's shape."""
Logging = Literal["none", "tensorboard", "trackio"]
EndTokens = Literal["all", "turn", "last", "none"]
ExcessLength = Literal["drop", "truncate", "raise"]

MOST_STEPS = 10_000


@dataclass(frozen=True)
class DataChoice:
    """Where the rows come from.

    name: of a built-in set, of a file (absolute path), or of a data set on the Hub. type: None lets the columns tell.
    columns: other names for the type's own, as Axolotl's `field_messages` and the like. val_set_size: a share below
    1, or a number of rows, kept aside. The others are Axolotl's keys of the same names with its defaults; config is
    its `name`, excess_length its `excess_length_strategy`, shuffle its `shuffle_merged_datasets`, and chat_template
    a template's text, empty for the tokenizer's own. notes: sentences on what of a configuration is not read.
    """

    origin: DataOrigin = "built-in"
    name: str = "instructions"
    type: DatasetType | None = None
    split: str = "train"
    columns: tuple[tuple[str, str], ...] = ()
    val_set_size: float = 0.05
    config: str | None = None
    train_on_inputs: bool = False
    roles_to_train: tuple[str, ...] = ("assistant",)
    train_on_eos: EndTokens = "turn"
    eot_tokens: tuple[str, ...] = ()
    chat_template: str = ""
    excess_length: ExcessLength = "drop"
    shuffle: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What a run may use at the most; None: as much as there is."""

    wall_clock_seconds: float = 3600.0
    memory_bytes: int | None = None
    file_bytes: int | None = None
    steps: int = MOST_STEPS


@dataclass(frozen=True)
class PreviewRequest:
    """All that a run depends on; equal requests give equal losses on the same machine.

    text: the YAML the recipe came from. weights: None takes the base model's own where they can be had, else its
    shape. sequence_len, micro_batch_size, gradient_accumulation_steps: instead of the recipe's; None keeps them, or
    takes what a CPU can bear, with a note. run_anyway: also where the prediction says that it does not fit. access:
    what the run may read, the same for whoever plans it and for its worker.
    """

    recipe: Recipe
    base_model: BaseModel
    text: str = ""
    steps: int = 30
    data: DataChoice = field(default_factory=DataChoice)
    weights: Weights | None = None
    sequence_len: int | None = None
    micro_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    seed: int = 42
    eval_every: int = 10
    samples: int = 3
    logging: Logging = "none"
    run_anyway: bool = False
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)

    def record(self) -> dict[str, Any]:
        """As plain values for JSON; `request_from` reads them."""
        recipe = self.recipe.model_dump(mode="json", include=self.recipe.model_fields_set)
        rest = {name: value for name, value in vars(self).items() if name not in _RECORDS}
        return {
            **rest,
            "recipe": recipe,
            **{name: asdict(getattr(self, name)) for name in _RECORDS if name != "recipe"},
        }


_RECORDS = ("recipe", "base_model", "data", "limits", "access")


def request_from(record: Mapping[str, Any]) -> PreviewRequest:
    """A request from its record. Raises InvalidSettings for a recipe that is none, KeyError and TypeError for another
    form: one that does not say what it may read may read nothing.
    """
    data = dict(record["data"])
    data["columns"] = tuple((str(one), str(other)) for one, other in data.get("columns", ()))
    data["roles_to_train"] = tuple(data.get("roles_to_train", ("assistant",)))
    data["eot_tokens"] = tuple(data.get("eot_tokens", ()))
    data["notes"] = tuple(data.get("notes", ()))
    return PreviewRequest(
        **{name: value for name, value in record.items() if name not in _RECORDS},
        recipe=recipe_from(record["recipe"]),
        base_model=BaseModel(**record["base_model"]),
        data=DataChoice(**data),
        limits=Limits(**record["limits"]),
        access=Access(**record["access"]),
    )
