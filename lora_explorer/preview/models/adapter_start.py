"""What an adapter begins with: new matrices in some scheme, or an adapter that was trained before.

Loads no torch: the page asks it before anything runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_explorer.base_models import Access
from lora_explorer.errors import InvalidSettings, PreviewRefused
from lora_explorer.preview.models import hub_files
from lora_explorer.preview.models.quantization import quantized_bits
from lora_explorer.settings import Recipe

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SETTING = "lora_model_dir"
_ANYWHERE = Access()
_LARGEST_CONFIG_BYTES = 1 << 20
# PEFT 0.21: adapter_config.json's names, and the settings that say the same.
_SETTING_OF = {
    "r": "lora_r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "target_modules": "lora_target_modules",
    "target_parameters": "lora_target_parameters",
    "modules_to_save": "lora_modules_to_save",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
    "layers_to_transform": "peft_layers_to_transform",
    "layers_pattern": "peft_layers_pattern",
    "layer_replication": "peft_layer_replication",
    "trainable_token_indices": "peft_trainable_token_indices",
    "fan_in_fan_out": "lora_fan_in_fan_out",
    "use_dora": "peft_use_dora",
    "use_rslora": "peft_use_rslora",
    "ensure_weight_tying": "peft_ensure_weight_tying",
}
# What changes the layers in a way that no setting says.
_UNMODELLED = (
    "exclude_modules", "lora_bias", "use_qalora", "use_bdlora", "arrow_config", "alora_invocation_tokens",
    "megatron_config", "velora_config", "monteclora_config", "kasa_config",
)  # fmt: skip
_STARTS = re.compile(r"gaussian|eva|olora|pissa(_niter_\d+)?|corda|loftq|orthogonal|lora_ga|mica|[Tt]rue")
# PEFT 0.21 takes these from the values of the base weights, which packed ones do not show.
_NEEDS_PLAIN_WEIGHTS = re.compile(r"pissa.*|orthogonal|mica|loftq")
_LOFTQ_BITS = (4, 8)
_STARTS_AS_USUAL = {
    "eva": "EVA's statistics of the data are not collected, as Axolotl does not either: A starts at random.",
    "lora_ga": "LoRA-GA's gradients are not collected, as Axolotl does not either: A starts at random.",
}


@dataclass(frozen=True)
class AdapterStart:
    """How the adapter begins.

    recipe: with the adapter's settings as they will really be; those of its adapter_config.json where one is
    continued. It is what is to be counted, predicted and trained. folder, hub_id: of the adapter that is continued;
    both None for a new one. notes: one sentence each on what is otherwise than the recipe says.
    """

    recipe: Recipe
    folder: Path | None = None
    hub_id: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_continued(self) -> bool:
        return self.folder is not None or self.hub_id is not None


def find_adapter_start(recipe: Recipe, device: str = "cpu", *, access: Access = _ANYWHERE) -> AdapterStart:
    """What the recipe's adapter begins with; reads the adapter_config.json of `lora_model_dir`, a folder or a Hub id.

    recipe: after `runnable_quantization`. Raises PreviewRefused for an adapter that is not there or cannot be
    continued, and for a start that cannot be made.
    """
    if not recipe.adapter:
        return AdapterStart(recipe)
    if recipe.lora_model_dir:
        return _continue(recipe, recipe.lora_model_dir.strip(), access)
    return _begin(recipe, device)


def _begin(recipe: Recipe, device: str) -> AdapterStart:
    scheme = _scheme(recipe)
    if scheme is not None and not _STARTS.fullmatch(scheme):
        raise _refused_start(f"PEFT knows no start of A and B called {scheme[:40]!r}.")
    if scheme == "corda":
        raise _refused_start("corda starts from statistics of the data that neither Axolotl nor a preview collects.")
    if scheme and _NEEDS_PLAIN_WEIGHTS.fullmatch(scheme) and quantized_bits(recipe):
        raise _refused_start(f"{scheme} starts from the base weights, which PEFT cannot read once they are quantized.")
    if scheme == "loftq":
        return _begin_with_loftq(recipe, device)
    return AdapterStart(recipe, notes=(_STARTS_AS_USUAL[scheme],) if scheme in _STARTS_AS_USUAL else ())


def _scheme(recipe: Recipe) -> str | None:
    """The name of the start; one that is written wins over LoftQ's block, as in Axolotl."""
    if recipe.peft_init_lora_weights:
        return str(recipe.peft_init_lora_weights)
    return "loftq" if recipe.loftq_bits is not None else None


def _begin_with_loftq(recipe: Recipe, device: str) -> AdapterStart:
    key = "loftq_bits"
    if recipe.loftq_bits is None:
        raise PreviewRefused("loftq needs a number of bits: set peft.loftq_config.loftq_bits.", setting=key)
    if recipe.loftq_bits not in _LOFTQ_BITS:
        raise PreviewRefused(f"PEFT has LoftQ for 4 and 8 bits, not for {recipe.loftq_bits}.", setting=key)
    if device == "cuda":
        return AdapterStart(recipe)
    usual = recipe.changed(loftq_bits=None, peft_init_lora_weights=None)
    return AdapterStart(usual, notes=("LoftQ is left out: PEFT computes its start on a CUDA device only.",))


def _refused_start(sentence: str) -> PreviewRefused:
    return PreviewRefused(sentence, setting="peft_init_lora_weights")


def _continue(recipe: Recipe, named: str, access: Access) -> AdapterStart:
    folder, hub_id = _located(named, access)
    config = _config_of(folder if folder is not None else hub_files.download_adapter(named, with_weights=False))
    as_it_is = _as_trained(recipe, config)
    note = (
        f"The adapter continues from {named[:60]}, whose adapter_config.json decides: "
        f"rank {as_it_is.lora_r}, alpha {as_it_is.lora_alpha}."
    )
    return AdapterStart(as_it_is, folder, hub_id, (note,))


def _located(named: str, access: Access) -> tuple[Path | None, str | None]:
    folder = Path(named).expanduser()
    if not access.folders:
        raise PreviewRefused("Adapters cannot be read from folders or the Hub on a public page.", setting=_SETTING)
    if folder.is_dir():
        return folder, None
    if not access.hub or not _HUB_ID.fullmatch(named):
        raise PreviewRefused(f"There is no folder {named[:60]} with an adapter.", setting=_SETTING)
    return None, named


def _config_of(folder: Path) -> Mapping[str, Any]:
    file = folder / hub_files.ADAPTER_CONFIG
    try:
        if file.stat().st_size > _LARGEST_CONFIG_BYTES:
            raise PreviewRefused("Its adapter_config.json is too large to be one.", setting=_SETTING)
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PreviewRefused("The adapter to continue from has no adapter_config.json.", setting=_SETTING) from error
    except (OSError, ValueError) as error:
        raise PreviewRefused("The adapter's adapter_config.json cannot be read.", setting=_SETTING) from error
    if not isinstance(found, dict) or found.get("peft_type") != "LORA":
        raise PreviewRefused("The adapter to continue from is not a LoRA adapter.", setting=_SETTING)
    return found


def _as_trained(recipe: Recipe, config: Mapping[str, Any]) -> Recipe:
    """The recipe with the settings of a trained adapter. Raises PreviewRefused for what no setting says."""
    other = next((name for name in _UNMODELLED if config.get(name)), None)
    if config.get("bias", "none") != "none":
        other = "bias"
    if other:
        raise PreviewRefused(f"The adapter to continue from uses {other}, which is not known here.", setting=_SETTING)
    values = {
        setting: _plain(config[name]) if config.get(name) is not None else Recipe.model_fields[setting].default
        for name, setting in _SETTING_OF.items()
    }
    begun = {"lora_target_linear": False, "peft_init_lora_weights": None, "loftq_bits": None}
    try:
        return recipe.changed(**begun, **values)
    except InvalidSettings as error:
        raise PreviewRefused(f"The adapter's adapter_config.json cannot be used: {error}", setting=_SETTING) from error


def _plain(value: Any) -> Any:
    """JSON's numbers as settings have them; one layer as a list of one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
