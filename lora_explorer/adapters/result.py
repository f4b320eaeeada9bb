"""What an adapter plan says: plain, frozen, and adding up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lora_explorer.findings import Finding


@dataclass(frozen=True)
class ModuleCount:
    """One module (or parameter) that is trained.

    path: its path in the base model; kind: the last part of the path; layer: its layer, None outside the layers.
    shape: of the base weight. r, alpha, scaling: None where the module is trained in full.
    via: the setting that chose it; entry: what was written there.
    """

    path: str
    kind: str
    layer: int | None
    shape: tuple[int, ...]
    r: int | None
    alpha: float | None
    scaling: float | None
    trainable_params: int
    via: str
    entry: str


@dataclass(frozen=True)
class TargetCoverage:
    """What one entry of a target setting matched.

    nearest: names this model has, closest first; only for an entry that matched nothing.
    """

    key: str
    entry: str
    matched: int
    layers: tuple[int, ...]
    trainable_params: int
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A name of this model that a target setting can hold, and what it would train at the current rank in all layers.

    key: the setting it is for.
    """

    key: str
    name: str
    modules: int
    trainable_params: int


@dataclass(frozen=True)
class AdapterPlan:
    """What is trained, counted as PEFT counts it.

    base_params: parameters of the base model, tied ones once. added_params: all that PEFT adds, trained or not.
    adapter_file_bytes: tensors of the saved adapter in the dtype that training leaves them in.
    """

    base_params: int
    added_params: int
    modules: tuple[ModuleCount, ...]
    coverage: tuple[TargetCoverage, ...]
    adapter_file_bytes: int
    num_layers: int
    findings: tuple[Finding, ...] = ()

    @property
    def trainable_params(self) -> int:
        return sum(module.trainable_params for module in self.modules)

    @property
    def all_params(self) -> int:
        """PEFT's meaning: base model and adapter."""
        return self.base_params + self.added_params

    @property
    def trainable_percent(self) -> float:
        return 100 * self.trainable_params / self.all_params

    @property
    def params_by_kind(self) -> Mapping[str, int]:
        """Trainable parameters by the last part of the path, largest first."""
        by_kind: Counter[str] = Counter()
        for module in self.modules:
            by_kind[module.kind] += module.trainable_params
        return dict(by_kind.most_common())
