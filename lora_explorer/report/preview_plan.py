"""What will run, before it runs: where, with which weights, what is otherwise than written, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lora_explorer.report import notes, words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.preview.plan import PreviewPlan
    from lora_explorer.preview.request import Weights
    from lora_explorer.preview.step_memory.prediction import Prediction

NOT_ASKED = "What will run is shown here before it starts."
_DEVICES = {"cpu": "on the CPU", "cuda": "on the GPU", "mps": "on Apple's GPU"}
_WEIGHTS = {
    "own": "The base model's own weights",
    "bundled": "SmolLM2-135M-Instruct in its place",
    "shape": "Random weights in its shape",
}
WEIGHT_LABELS = (
    ("Its own where they can be had, else random", ""),
    ("The base model's own", "own"),
    ("SmolLM2-135M-Instruct, bundled", "bundled"),
    ("Random, in the base model's shape", "shape"),
)
"""Label and value of each choice of weights."""


def plan_card(
    plan: PreviewPlan, prediction: Prediction | None, unknown: str = "", *, has_bundled: bool = False
) -> Html:
    """One line on what runs, its size, each deviation from the recipe, and memory.

    unknown: why no memory is predicted. has_bundled: whether the bundled model is there, to be trained instead.
    """
    times, tokens, batches = plan.micro_batch_size, plan.sequence_len, plan.gradient_accumulation_steps
    one = f"{times} × {tokens:,} tokens"
    rows = f"{times} × {tokens:,} tokens × {batches:,} micro-batches" if batches > 1 else one
    layers = f" · {words.counted(plan.layers, 'layer')}" if plan.layers else ""
    what = f"{_DEVICES.get(plan.device, plan.device)} in {plan.dtype}{layers} · at most {rows} a step"
    return tag(
        "div",
        tag("p", tag("b", _WEIGHTS[plan.weights]), f", {what}", class_="plan-what"),
        _no_loss(has_bundled=has_bundled) if plan.weights == "shape" else None,
        memory_line(prediction, unknown),
        _notes(plan.notes),
        id="preview-plan",
        data_device=plan.device,
        data_weights=plan.weights,
        data_value=prediction.needed_bytes if prediction else None,
        data_fits=int(prediction.fits) if prediction else None,
    )


def _no_loss(*, has_bundled: bool) -> Html:
    """What random weights cannot show, and what can, one click away."""
    said = tag("b", "This shows memory and speed, but no loss: nothing is learned with random weights.")
    choose = tag(
        "button", "Train SmolLM2-135M-Instruct instead", type="button", class_="run-ask", data_choose_weights="bundled"
    )
    return tag("p", said, " ", choose if has_bundled else None, class_="no-loss-here")


def memory_line(prediction: Prediction | None, unknown: str = "") -> Html:
    """Predicted memory beside what is free, as a bar and in words."""
    if prediction is None:
        return tag("p", unknown or "How much memory it takes is not known before it runs.", class_="quiet-line")
    full_bytes = max(prediction.needed_bytes, prediction.available_bytes, 1)
    kind = "good" if prediction.fits else "bad"
    needed = tag("span", class_=f"need {kind}", style=f"width:{100 * prediction.needed_bytes / full_bytes:.1f}%")
    free = tag("i", style=f"left:{100 * prediction.available_bytes / full_bytes:.1f}%")
    said = f"{words.gib(prediction.needed_bytes, 2)} GiB predicted, {words.gib(prediction.available_bytes, 2)} GiB free"
    return join(
        tag("div", needed, free, class_="need-bar", role="img", aria_label=said),
        tag("p", said, class_="need-words"),
        None
        if prediction.fits
        else tag("p", prediction.sentence(), class_="sentence", data_kind="error", role="status"),
    )


def weights_offer(offers: Iterable[tuple[Weights, str]]) -> Html:
    """Which weights cannot be had here, and why. offers: a sentence for each kind, empty where it can be had."""
    missing = [sentence for _, sentence in offers if sentence]
    return tag("div", *(tag("p", sentence) for sentence in missing), class_="quiet") if missing else Html("")


def _notes(sentences: Iterable[str]) -> Html | None:
    listed = notes.sentences(sentences)
    return join(tag("p", "Otherwise than written:", class_="quiet-line"), listed) if listed else None
