"""Which modules and parameters an adapter reaches, found by PEFT's own injection without building a layer.

PEFT's `inject_adapter` does all the matching, converting and checking; only the moment in which it would build a
layer is replaced by writing down what it would have built. That takes about 10 ms for an 8B model where building
takes 200. Options that change the model itself, or layers that wrap each other, are injected for real instead, into
a model of their own, and written down the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.model import LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, TrainableTokensWrapper, get_pattern_key
from torch import nn
from transformers.modeling_utils import PreTrainedModel

from lora_explorer.adapters.config import lora_config
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.settings import Recipe, recipe_from

ADAPTER_NAME = "default"

# The settings that decide what is reached; all others decide how it is counted.
_STRUCTURAL = (
    "lora_target_linear",
    "lora_target_modules",
    "lora_target_parameters",
    "lora_modules_to_save",
    "lora_rank_pattern",
    "lora_alpha_pattern",
    "peft_layers_to_transform",
    "peft_layers_pattern",
    "peft_layer_replication",
    "peft_trainable_token_indices",
    "peft_ensure_weight_tying",
)


@dataclass(frozen=True)
class Magnitude:
    """A rank or an alpha as a pattern sets it: a number of its own, or a multiple of the recipe's."""

    fixed: int | None = None
    multiple: int = 1

    def of(self, value: int) -> int:
        return self.multiple * value if self.fixed is None else self.fixed


@dataclass(frozen=True)
class Target:
    """One module, or one parameter of a module, that gets a layer of PEFT's.

    shape_key: equal for targets whose layers have equal shapes.
    """

    path: str
    module: nn.Module = field(repr=False)
    parameter_name: str | None
    rank: Magnitude
    alpha: Magnitude
    shape_key: Hashable = field(repr=False)
    shape: tuple[int, ...]


def target_at(
    path: str,
    module: nn.Module,
    parameter_name: str | None = None,
    rank: Magnitude = Magnitude(),
    alpha: Magnitude = Magnitude(),
) -> Target:
    """A target from the module at a path, or from one of its parameters."""
    weight = getattr(module, parameter_name or "weight", None)
    shape = tuple(weight.shape) if isinstance(weight, torch.Tensor) else ()
    return Target(path, module, parameter_name, rank, alpha, _shape_key(module, parameter_name), shape)


@dataclass(frozen=True)
class Extra:
    """A module trained beside the adapter: a whole copy, or rows of an embedding.

    saved_params: in the adapter's file, where a tied copy is written again.
    """

    path: str
    setting: str
    shape: tuple[int, ...]
    trainable_params: int
    saved_params: int


@dataclass(frozen=True)
class Structure:
    """All that an adapter reaches in one model, whatever its rank.

    frozen_params: what is not trained; other than the base model's when layers are replicated.
    """

    targets: tuple[Target, ...]
    extras: tuple[Extra, ...]
    frozen_params: int


class _RecordingModel(LoraModel):  # type: ignore[misc]
    """Writes targets down where PEFT would replace them."""

    def __init__(self, model: PreTrainedModel, config: LoraConfig) -> None:
        # nn.Module only takes attributes after its own __init__, which here already injects.
        self.__dict__["targets"] = []
        self.__dict__["given"] = (dict(config.rank_pattern), dict(config.alpha_pattern))
        super().__init__(model, config, ADAPTER_NAME)

    def _create_and_replace(  # noqa: PLR0913 (PEFT's signature)
        self,
        lora_config: LoraConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        *,
        parameter_name: str | None = None,
    ) -> None:
        given_ranks, given_alphas = self.given
        module = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        rank = _magnitude(lora_config.rank_pattern, given_ranks, current_key)
        alpha = _magnitude(lora_config.alpha_pattern, given_alphas, current_key)
        self.targets.append(target_at(current_key, module, parameter_name, rank, alpha))


class _InjectingModel(_RecordingModel):
    """Writes targets down and replaces them too."""

    def _create_and_replace(self, *args: Any, **kwargs: Any) -> None:
        super()._create_and_replace(*args, **kwargs)
        LoraModel._create_and_replace(self, *args, **kwargs)


def find_structure(recipe: Recipe, skeleton: Skeleton) -> Structure:
    """What a structural recipe's adapter reaches. PEFT's own errors come through as they are."""
    if recipe.peft_layer_replication or recipe.peft_ensure_weight_tying:
        return _inject(recipe, skeleton)
    recorded = _record(recipe, skeleton)
    return _inject(recipe, skeleton) if _wrap_each_other(recorded) else recorded


def structural(recipe: Recipe) -> Recipe:
    """What of a recipe decides its structure, with a rank and alpha of 1, so that what PEFT multiplies is a factor."""
    kept = {name: getattr(recipe, name) for name in _STRUCTURAL}
    return recipe_from({"adapter": "lora", "lora_r": 1, "lora_alpha": 1, **kept})


def _record(recipe: Recipe, skeleton: Skeleton) -> Structure:
    model = skeleton.model
    with skeleton.lock, torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording = _RecordingModel(model, lora_config(recipe, model))
            return Structure(tuple(recording.targets), tuple(_extras(model)), skeleton.total_params)
        finally:
            _restore(model)


def _inject(recipe: Recipe, skeleton: Skeleton) -> Structure:
    model = skeleton.new_model()
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        injecting = _InjectingModel(model, lora_config(recipe, model))
    frozen = (parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    return Structure(tuple(injecting.targets), tuple(_extras(model)), sum(frozen))


def _restore(model: PreTrainedModel) -> None:
    """Put back the modules that PEFT wraps for full training, and forget its config."""
    wrapped = [(path, module) for path, module in model.named_modules() if isinstance(module, AuxiliaryTrainingWrapper)]
    # A wrapper can hold another one; the inner one goes first, while its path still exists.
    for path, wrapper in reversed(wrapped):
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrapper.original_module)
    model.__dict__.pop("peft_config", None)


def _extras(model: PreTrainedModel) -> Iterator[Extra]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        if not isinstance(module, AuxiliaryTrainingWrapper):
            continue
        own = [parameter for parameter in module.parameters() if parameter.requires_grad]
        # Tied copies are one parameter and count where they are met first.
        trained = [parameter for parameter in own if id(parameter) not in seen]
        seen.update(id(parameter) for parameter in trained)
        by_rows = isinstance(module, TrainableTokensWrapper)
        weight = getattr(module.original_module, "weight", None)
        yield Extra(
            path=path,
            setting="peft_trainable_token_indices" if by_rows else "lora_modules_to_save",
            shape=tuple(weight.shape) if isinstance(weight, torch.Tensor) else (),
            trainable_params=sum(parameter.numel() for parameter in trained),
            saved_params=sum(parameter.numel() for parameter in (trained if by_rows else own)),
        )


def _magnitude(pattern: dict[str, int], given: dict[str, int], path: str) -> Magnitude:
    key = get_pattern_key(pattern.keys(), path)
    if key not in pattern:
        return Magnitude()
    # What PEFT adds when it fuses old names of experts is a multiple of the recipe's value, which is 1 here.
    added_by_peft = key not in given or given[key] != pattern[key]
    return Magnitude(multiple=pattern[key]) if added_by_peft else Magnitude(fixed=pattern[key])


def _shape_key(module: nn.Module, parameter_name: str | None) -> Hashable:
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in module.named_parameters())
    return type(module), parameter_name, getattr(module, "is_transposed", None), shapes


def _wrap_each_other(structure: Structure) -> bool:
    """Whether a layer would sit inside another one, so that building one changes what the next one sees."""
    modules = {target.path for target in structure.targets if target.parameter_name is None}
    owners = {target.path.rpartition(".")[0] for target in structure.targets if target.parameter_name is not None}
    if modules & owners:
        return True
    reached = [target.path for target in structure.targets]
    if _any_inside([extra.path for extra in structure.extras]):
        return True
    return any(
        path == extra.path or path.startswith(f"{extra.path}.") or extra.path.startswith(f"{path}.")
        for extra in structure.extras
        for path in reached
    )


def _any_inside(paths: list[str]) -> bool:
    return any(inner.startswith(f"{outer}.") for outer in paths for inner in paths)
