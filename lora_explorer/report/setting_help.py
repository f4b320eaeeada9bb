"""The longer story of a setting, with where its facts come from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.notes import with_code
from lora_explorer.settings import Setting

_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
# By how a source begins: where its documentation is read.
_DOCUMENTATION = {
    "PEFT": "https://huggingface.co/docs/peft/package_reference/lora",
    "Axolotl": "https://docs.axolotl.ai/docs/config-reference.html",
    "transformers, TrainingArguments": "https://huggingface.co/docs/transformers/main_classes/trainer",
    "transformers, BitsAndBytesConfig": "https://huggingface.co/docs/transformers/main_classes/quantization",
    "transformers, attention interface": "https://huggingface.co/docs/transformers/attention_interface",
    "transformers, model configurations": "https://huggingface.co/docs/transformers/main_classes/configuration",
    "transformers, Trainer": "https://huggingface.co/docs/transformers/main_classes/trainer",
    "torch.utils.checkpoint": "https://docs.pytorch.org/docs/stable/checkpoint.html",
    "PyTorch, notes on CUDA": "https://docs.pytorch.org/docs/stable/notes/cuda.html",
    "torch.backends": "https://docs.pytorch.org/docs/stable/notes/cuda.html",
}


def setting_help(setting: Setting) -> Html:
    """Help, explanation and source."""
    return tag(
        "div",
        with_code("p", setting.help),
        with_code("p", setting.explanation),
        tag("p", "Source: ", *linked(setting.source), class_="quiet-line"),
        class_="about-help",
    )


def address_of(source: str) -> str | None:
    """Where a source can be read."""
    paper = _ARXIV.search(source)
    if paper:
        return f"https://arxiv.org/abs/{paper[1]}"
    return next((address for start, address in _DOCUMENTATION.items() if source.startswith(start)), None)


def linked(source: str) -> Iterator[Html]:
    """The source as a link to where it can be read; as text where that is not known."""
    address = address_of(source)
    if address is None:
        yield join(source)
    else:
        yield tag("a", source, href=address, target="_blank", rel="noopener noreferrer")
