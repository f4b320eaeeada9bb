"""What the model answers before and after training, to the beginnings of rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from lora_explorer.preview.data import EncodedData
from lora_explorer.preview.data.formats import IGNORED

ANSWER_TOKENS = 48
# Of a row that is trained on from its first token.
_BEGINNING_TOKENS = 12
_LONGEST_PROMPT_TOKENS = 512
# Starts of A and B that change the base weights, so that switching the adapter off does not bring them back.
_CHANGING_STARTS = ("pissa", "olora", "corda", "loftq", "orthogonal", "lora_ga", "mica")


@dataclass(frozen=True)
class Prompt:
    """tokens: what the model is given. expected: the tokens of the row that come next."""

    tokens: tuple[int, ...]
    expected: tuple[int, ...]


def choose_prompts(data: EncodedData, count: int) -> list[Prompt]:
    """From rows kept aside, or from the first of those that are trained on where there are none."""
    rows = data.evaluation or data.train
    return [_prompt(row) for row in rows[:count]]


def base_is_reachable(model: Any, recipe_start: object) -> bool:
    """Whether the model without its adapter is the one that training began with."""
    changes = isinstance(recipe_start, str) and recipe_start.startswith(_CHANGING_STARTS)
    return isinstance(model, PeftModel) and not changes


def answers_of_base(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[str]:
    """Answers with the adapter switched off."""
    with model.disable_adapter() if isinstance(model, PeftModel) else nullcontext():
        return answers(model, tokenizer, prompts)


def answers(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[str]:
    """The likeliest continuation of each, at most ANSWER_TOKENS long."""
    if not prompts:
        return []
    was_training = model.training
    model.eval()
    batch = _padded(prompts, tokenizer, model.device)
    with torch.no_grad():
        found = model.generate(
            **batch, max_new_tokens=ANSWER_TOKENS, do_sample=False, use_cache=True, pad_token_id=tokenizer.pad_token_id
        )
    model.train(was_training)
    return [text(tokenizer, row) for row in found[:, batch["input_ids"].shape[1] :].tolist()]


def text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """Tokens as people read them."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


def _prompt(row: Mapping[str, Sequence[int]]) -> Prompt:
    """A row up to its first answer, and the answer."""
    tokens, labels = row["input_ids"], row["labels"]
    first = next((place for place, label in enumerate(labels) if label != IGNORED), len(tokens))
    first = max(first, min(_BEGINNING_TOKENS, len(tokens) // 2), 1)
    end = next((place for place in range(first, len(labels)) if labels[place] == IGNORED), len(tokens))
    return Prompt(
        tuple(tokens[max(first - _LONGEST_PROMPT_TOKENS, 0) : first]), tuple(tokens[first:end][:ANSWER_TOKENS])
    )


def _padded(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> dict[str, torch.Tensor]:
    """One batch, filled up on the left, where no answer begins."""
    width = max(len(prompt.tokens) for prompt in prompts)
    pad = tokenizer.pad_token_id or 0
    ids = [[pad] * (width - len(prompt.tokens)) + list(prompt.tokens) for prompt in prompts]
    mask = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in prompts]
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }
