"""Every error raised on purpose. Anything else is a bug and stays loud."""

from __future__ import annotations

from typing import ClassVar

from lora_explorer.findings import Finding, Fix, Outcome


class ExplorerError(Exception):
    """Base of every error raised on purpose; `findings` say which setting is at fault, one sentence each."""

    outcome: ClassVar[Outcome | None] = None

    def __init__(self, message: str, *, setting: str = "", suggestion: str | None = None, fix: Fix = ()) -> None:
        super().__init__(message)
        self.findings: tuple[Finding, ...] = (Finding(setting, "error", message, suggestion, self.outcome, fix=fix),)


class InvalidSettings(ExplorerError):
    """The settings cannot be used as they are: a value out of bounds, or two that exclude each other."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(" ".join(finding.message for finding in findings))
        self.findings = findings


class UnreadableYaml(ExplorerError):
    """The text is not a YAML mapping that can be read safely."""


class UnknownBaseModel(ExplorerError):
    """No architecture can be had for this base model: not found, not reachable, not allowed, or not usable."""


class AdapterRefused(ExplorerError):
    """PEFT cannot build this adapter on this base model; the message carries PEFT's reason."""

    outcome: ClassVar[Outcome | None] = "fails at load"


class MemoryUnknown(ExplorerError):
    """The training step of this configuration cannot be traced; counts are not affected."""


class MeasurementFailed(ExplorerError):
    """The step could not be run for real here, or did not come to its end; the prediction is not affected."""


class PreviewRefused(ExplorerError):
    """A preview cannot be started as it was asked for: data, weights, a value, or a batch that would not fit."""


class ExportRefused(ExplorerError):
    """A recipe cannot be written for a program: it has no word for what the file is about."""


class UnknownAdapter(ExplorerError):
    """No adapter_config.json can be had: not found, not reachable, not allowed, or not readable."""


class SweepRefused(ExplorerError):
    """A sweep cannot be made as it was asked for: no such setting, an empty range, or too many points."""


class UnknownRecipe(ExplorerError):
    """No recipe that comes along has this name."""


class UnreadablePresets(ExplorerError):
    """A file is not one of presets that were saved here, or not a whole one."""


class UnreadableLink(ExplorerError):
    """The text is not a permalink of this program, or not a whole one."""


class SpeedUnknown(ExplorerError):
    """How long a step takes cannot be told: the card's rates are not known, or the work cannot be counted."""
