"""The README.md beside a trained adapter: what it is, how it was trained, and the settings to train it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from peft.utils import CONFIG_NAME

from lora_explorer.preview.plan import PreviewPlan
from lora_explorer.preview.run_folder import RunFolder

# What PEFT puts before the base model's name in a tag.
_ADAPTER_OF = "base_model:adapter:"


def name_base_model(adapter: Path, name: str) -> None:
    """Say in a saved adapter what its base model is called, where PEFT says in which folder of this machine it lay."""
    file = adapter / CONFIG_NAME
    config = json.loads(file.read_text(encoding="utf-8")) | {"base_model_name_or_path": name}
    file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def write_model_card(adapter: Path, folder: RunFolder, plan: PreviewPlan, steps: int) -> None:
    """Complete the card that PEFT began when it saved the adapter. folder: of the run."""
    file = adapter / "README.md"
    name = plan.source.base_model.name
    facts = ModelCard.load(file).data.to_dict() if file.is_file() else {}
    begun = (tag for tag in facts.get("tags", ()) if not tag.startswith(_ADAPTER_OF))
    tags = sorted({*begun, f"{_ADAPTER_OF}{name}", "lora", "lora-explorer"})
    facts |= {"base_model": name, "library_name": "peft", "tags": tags}
    ModelCard(f"---\n{ModelCardData(**facts).to_yaml()}\n---\n{_text(folder, plan, steps)}").save(file)


def _text(folder: RunFolder, plan: PreviewPlan, steps: int) -> str:
    request = plan.request
    rows = {
        "Base model": plan.source.base_model.name,
        "Data": f"{request.data.name} ({request.data.origin})",
        "Steps": f"{steps}",
        "Rows a step": f"{plan.micro_batch_size} × {plan.gradient_accumulation_steps}",
        "Sequence length": f"{plan.sequence_len}",
        "Precision": plan.dtype if plan.bits is None else f"{plan.dtype}, base weights in {plan.bits} bits",
        "Device": (folder.read("environment") or {}).get("device", plan.device),
        "Seed": f"{plan.seed}",
    }
    return "\n".join(
        [
            "# A LoRA adapter from a short training preview",
            "",
            _purpose(plan, steps),
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            *_listed("Done otherwise than the settings say:", plan.notes),
            "## Use",
            "",
            *_fenced("python", _usage(plan)),
            "## Settings",
            "",
            *_fenced("yaml", request.text or _recipe_text(plan)),
            "## Versions",
            "",
            *(f"- {name} {version}" for name, version in _packages(folder).items()),
            "",
        ]
    )


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _listed(title: str, lines: tuple[str, ...]) -> list[str]:
    return [title, "", *(f"- {line}" for line in lines), ""] if lines else []


def _fenced(language: str, text: str) -> list[str]:
    """A code block whose fence the text cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", text.rstrip("\n"), fence, ""]


def _usage(plan: PreviewPlan) -> str:
    return "\n".join(
        [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            "",
            f"base = AutoModelForCausalLM.from_pretrained({plan.source.base_model.name!r})",
            'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        ]
    )


def _purpose(plan: PreviewPlan, steps: int) -> str:
    if plan.weights == "shape":
        return (
            f"Trained for {_steps(steps)} on random weights in the base model's shape, to see memory and speed. "
            "It has learnt nothing, and is of no use on the base model's own weights."
        )
    return f"Trained for {_steps(steps)} to see whether the settings learn; it is no finished model."


def _recipe_text(plan: PreviewPlan) -> str:
    import yaml

    recipe = plan.request.recipe
    values: dict[str, Any] = recipe.model_dump(mode="json", include=recipe.model_fields_set)
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _packages(folder: RunFolder) -> dict[str, str]:
    found: dict[str, str] = (folder.read("environment") or {}).get("packages", {})
    return found
