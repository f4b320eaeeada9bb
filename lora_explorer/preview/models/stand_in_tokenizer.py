"""A tokenizer for models whose own is not at hand: the small model's, its vocabulary cut to size, or plain bytes.

What tokens mean is nothing to random weights; how many of them a text becomes decides memory and speed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lora_explorer.preview.models.bundled_model import bundled_folder, is_available

_UNKNOWN, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def stand_in_tokenizer(vocab_size: int, tell: Callable[[str], None] = lambda message: None) -> Any:
    """A tokenizer whose ids are all below `vocab_size`; what is left out becomes its first token."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    facts = _bundled(tell) if is_available() else _bytes()
    make: Callable[..., Any] = PreTrainedTokenizerFast
    return make(
        tokenizer_object=Tokenizer.from_str(json.dumps(_cut(facts, vocab_size))),
        unk_token=_UNKNOWN,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        chat_template=_CHAT_TEMPLATE,
    )


def _bundled(tell: Callable[[str], None]) -> dict[str, Any]:
    text = (bundled_folder(tell) / "tokenizer.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def _bytes() -> dict[str, Any]:
    """One token a byte, and three special ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate((_UNKNOWN, _START, _END, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (_UNKNOWN, _START, _END)])
    facts: dict[str, Any] = json.loads(tokenizer.to_str())
    return facts


def _cut(facts: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """Byte pairs are numbered in the order they were merged, so the first of them are a tokenizer too."""
    model = facts["model"]
    vocab = {token: number for token, number in model["vocab"].items() if number < vocab_size}
    merges = [pair for pair in model["merges"] if all(part in vocab for part in (*pair, "".join(pair)))]
    added = [token for token in facts["added_tokens"] if token["id"] < vocab_size]
    unknown = next(token for token, number in vocab.items() if number == 0)
    return {
        **facts,
        "added_tokens": added,
        "model": {**model, "vocab": vocab, "merges": merges, "unk_token": unknown},
    }
