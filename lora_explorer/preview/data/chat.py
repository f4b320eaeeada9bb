"""Conversations through a chat template, trained on the turns of some roles, as Axolotl 0.21 does it.

A template may do anything with a turn, so where a turn lies in the text is found by rendering the conversation again
with something else in its place: what differs is the turn.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_explorer.preview.data.columns import Record, column_names, messages_of
from lora_explorer.preview.data.formats import IGNORED, Encoder, Tokens
from lora_explorer.preview.data.refusal import refusal, shown
from lora_explorer.preview.request import DataChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_ROLES = {"human": "user", "gpt": "assistant"}
# Two placeholders that share neither their first nor their last character: text around the turn that happens to begin
# or end like one of them cannot hide the turn's edge from both.
_PLACEHOLDERS = ("[[another-turn]]", "zzanotherturnzz")
# The end token belongs to a turn when at most this many tokens of the template lie between them.
_FURTHEST_END = 3


class TemplateRefused(ValueError):
    """A chat template does not take a conversation."""


@dataclass(frozen=True)
class _Text:
    """A conversation as text, with its tokens and the characters each of them begins and ends at."""

    text: str
    tokens: list[int]
    starts: list[int]
    ends: list[int]

    def tokens_between(self, begin: int, end: int) -> range:
        """The tokens that hold characters from begin to end."""
        # Several tokens can share one character's place; asking for the starts keeps the last of them.
        return range(bisect_right(self.ends, begin), bisect_left(self.starts, end))


def chat_encoder(choice: DataChoice, tokenizer: PreTrainedTokenizerBase, sequence_len: int) -> Encoder:
    """Raises PreviewRefused where the tokenizer has no template or cannot say which characters a token is."""
    if not tokenizer.is_fast:
        raise refusal("This base model's tokenizer does not say which characters a token is; use data of type alpaca.")
    template = template_for(choice, tokenizer)
    ends = (*_turn_ends(choice, tokenizer, template), frozenset({tokenizer.eos_token_id}))
    return _Chat(choice, tokenizer, template, column_names(choice), ends).encode


def template_for(choice: DataChoice, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of the template: the choice's own, ChatML, or the tokenizer's. Raises PreviewRefused without any."""
    if "{" in choice.chat_template:
        return choice.chat_template
    if choice.chat_template.endswith("chatml") and not ("fallback" in choice.chat_template and tokenizer.chat_template):
        return CHATML
    if not isinstance(tokenizer.chat_template, str):
        raise refusal(
            "This base model's tokenizer has no chat template; set chat_template: chatml, or use alpaca data."
        )
    return tokenizer.chat_template


def has_no_end(choice: DataChoice, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template writes no token after a turn that could be trained on: then nobody learns to stop."""
    template, end = template_for(choice, tokenizer), tokenizer.eos_token
    return not any(_turn_ends(choice, tokenizer, template)) and "eos_token" not in template and str(end) not in template


def _turn_ends(choice: DataChoice, tokenizer: PreTrainedTokenizerBase, template: str) -> Iterator[frozenset[int]]:
    """The tokens of `eot_tokens` that the template writes. Raises PreviewRefused for one that is several tokens."""
    found: set[int] = set()
    for text in choice.eot_tokens:
        tokens = tokenizer.encode(text, add_special_tokens=False) if text in template else []
        if len(tokens) > 1:
            raise refusal(f"eot_tokens names {shown(text)}, which is {len(tokens)} tokens for this tokenizer, not one.")
        found.update(tokens)
    if found:
        yield frozenset(found)


@dataclass(frozen=True)
class _Chat:
    choice: DataChoice
    tokenizer: PreTrainedTokenizerBase
    template: str
    names: Mapping[str, str]
    ends: tuple[frozenset[int], ...]

    def encode(self, row: Record) -> list[Tokens]:
        """Raises TemplateRefused."""
        turns, tools = self._turns(row), _tools(row)
        text = self._tokenized(self._render(turns, tools))
        labels = [IGNORED] * len(text.tokens)
        last: dict[frozenset[int], int] = {}
        for place, turn in enumerate(turns):
            trained = self._is_trained(turn)
            if not trained and self.choice.train_on_eos != "all":
                continue
            span = self._tokens_of(place, turns, tools, text)
            if trained:
                labels[span.start : span.stop] = text.tokens[span.start : span.stop]
            found = self._ends_after(span, text.tokens)
            last.update(found)
            if self.choice.train_on_eos in ("all", "turn"):
                _train(found.values(), text.tokens, labels)
        if self.choice.train_on_eos == "last":
            _train(last.values(), text.tokens, labels)
        return [Tokens(text.tokens, labels)]

    def _is_trained(self, turn: Mapping[str, Any]) -> bool:
        roles = {_ROLES.get(role, role) for role in self.choice.roles_to_train}
        return self.choice.train_on_inputs or turn["role"] in roles

    def _turns(self, row: Record) -> list[dict[str, Any]]:
        turns = [self._turn(message) for message in messages_of(row, self.names)]
        system = row.get("system")
        if turns[0]["role"] != "system" and isinstance(system, str):
            turns.insert(0, {"role": "system", "content": system})
        return turns

    def _turn(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message under the names that templates read; tool calls and the like stay as they are."""
        role, content = self.names["message_field_role"], self.names["message_field_content"]
        turn = {key: value for key, value in message.items() if key not in (role, content) and value is not None}
        turn["role"] = _ROLES.get(message[role], message[role])
        said = message.get(content)
        turn["content"] = "".join(part["text"] for part in said) if isinstance(said, list) else said
        if "tool_calls" in turn:
            turn["tool_calls"] = [_with_arguments(call) for call in turn["tool_calls"]]
        return turn

    def _render(self, turns: list[dict[str, Any]], tools: list[Any] | None) -> str:
        from jinja2 import TemplateError

        try:
            return str(self.tokenizer.apply_chat_template(turns, tools, chat_template=self.template, tokenize=False))
        except (TemplateError, TypeError) as error:
            raise TemplateRefused(str(error).rstrip(".") or type(error).__name__) from error

    def _tokenized(self, text: str) -> _Text:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        spans = encoded["offset_mapping"]
        return _Text(text, list(encoded["input_ids"]), [start for start, _ in spans], [end for _, end in spans])

    def _tokens_of(self, place: int, turns: list[dict[str, Any]], tools: list[Any] | None, text: _Text) -> range:
        """The tokens of one turn's content, thoughts and tool calls included; none for an empty turn."""
        begin, end = len(text.text), 0
        for placeholder in _PLACEHOLDERS:
            other = {"role": turns[place]["role"], "content": placeholder}
            changed = self._render([*turns[:place], other, *turns[place + 1 :]], tools)
            first, after = _difference(text.text, changed)
            begin, end = min(begin, first), max(end, after)
        return text.tokens_between(begin, end) if begin < end else range(0)

    def _ends_after(self, span: range, tokens: list[int]) -> dict[frozenset[int], int]:
        """The first end of each kind close behind a turn."""
        near = range(span.stop, min(span.stop + _FURTHEST_END + 1, len(tokens))) if span else range(0)
        return {
            ends: next(place for place in near if tokens[place] in ends)
            for ends in self.ends
            if any(tokens[place] in ends for place in near)
        }


def _train(places: Iterable[int], tokens: list[int], labels: list[int]) -> None:
    for place in places:
        labels[place] = tokens[place]


def _tools(row: Record) -> list[Any] | None:
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = _parsed(tools, "tools")
    return tools if isinstance(tools, list) and tools else None


def _with_arguments(call: Any) -> Any:
    """A tool call whose arguments are an object, also where a file holds them as text."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": _parsed(function["arguments"], "the arguments of a tool")}}


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TemplateRefused(f"{what} is not valid JSON") from error


def _difference(text: str, other: str) -> tuple[int, int]:
    """Where text differs from other: the first character, and the one after the last."""
    most = min(len(text), len(other))
    begin = _first_failure(lambda count: text[:count] == other[:count], most)
    rest = most - begin
    same_end = _first_failure(lambda count: text[len(text) - count :] == other[len(other) - count :], rest)
    return begin, len(text) - same_end


def _first_failure(holds: Callable[[int], bool], most: int) -> int:
    """The largest count up to `most` for which it holds; it holds for all smaller ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
