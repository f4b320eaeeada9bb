"""New tokens: whether embedding and head must be trained beside the adapter, and what each way of it trains.

A row of an embedding that nothing trains keeps what it started with, so a new token there means nothing. Axolotl 0.21
ends before training where a file adds `tokens` and does not save the two modules it knows for the family
(axolotl/loaders/utils.py), and where a special token is new to the tokenizer (axolotl/loaders/tokenizer.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lora_explorer.adapters.plan import plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import ExplorerError, InvalidSettings
from lora_explorer.findings import Finding, Fix
from lora_explorer.settings import Recipe

Need = Literal["needed", "may be needed", "not needed"]

# What Axolotl asks for by family; every other one has the usual names.
_PAIR_OF = {
    "gpt_neox": ("embed_in", "lm_head"),
    "falcon": ("word_embeddings", "lm_head"),
    "bailing_hybrid": ("word_embeddings", "lm_head"),
    "nemotron_h": ("embeddings", "lm_head"),
}
_USUAL_PAIR = ("embed_tokens", "lm_head")
_ROLES = ("bos_token", "eos_token", "unk_token")
_REFUSED = "Axolotl refuses tokens without the pair; give them reserved ids with added_tokens_overrides instead."
_IDS_UNKNOWN = "Which rows they are only the tokenizer knows; write their ids as peft_trainable_token_indices."
# By which settings new tokens are trained.
_TRAINING = ("lora_modules_to_save", "peft_trainable_token_indices", "peft_ensure_weight_tying")
_MOST_NEW_TOKENS = 10_000
_MOST_DIGITS = 9
_LONGEST_TEXT = 100_000
_TOO_MANY = f"At most {_MOST_NEW_TOKENS:,} new tokens are looked at here."
_WHOLE_NUMBER = re.compile("[0-9]+|[0-9]{1,3}(,[0-9]{3})+")
_ANY_NUMBER = re.compile(r"[-+]?[\d._]*\d(e\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class NewTokens:
    """What a file says about tokens.

    tokens: appended to the tokenizer. special: role and token, which may be known to it; padding is never trained.
    overridden: reserved ids of the tokenizer that get another text. unnamed: how many more are appended, by whatever
    name.
    """

    tokens: tuple[str, ...] = ()
    special: tuple[tuple[str, str], ...] = ()
    overridden: tuple[int, ...] = ()
    unnamed: int = 0

    @property
    def count(self) -> int:
        return self.appended + len(self.special) + len(self.overridden)

    @property
    def appended(self) -> int:
        return len(self.tokens) + self.unnamed

    def and_also(self, others: NewTokens) -> NewTokens:
        """These and the appended ones among others."""
        tokens = tuple(dict.fromkeys((*self.tokens, *others.tokens)))
        return replace(self, tokens=tokens, unnamed=self.unnamed + others.unnamed)


@dataclass(frozen=True)
class Way:
    """One way to train new tokens.

    settings: keys to write, with the ids of the rows left out where nobody can know them. recipe: the recipe with them,
    any ids standing for the real ones. trainable_params, adapter_file_bytes: beyond those of the recipe without.
    refused: why the way is closed, in which case both are None. caution: what else to know. fix: what to change in the
    file to go this way; empty where nothing is to change, or nobody can know it. is_chosen: the file goes it already.
    """

    title: str
    settings: tuple[tuple[str, Any], ...]
    recipe: Recipe | None
    trainable_params: int | None
    adapter_file_bytes: int | None
    refused: str = ""
    caution: str = ""
    fix: Fix = ()
    is_chosen: bool = False


@dataclass(frozen=True)
class NewTokensAdvice:
    """need and sentence: whether `lora_modules_to_save` must name the pair, and why.

    pair: the two names Axolotl looks for; missing: those of them that the recipe does not save.
    plain: the recipe without any of it, which costs are held against. ways: what there is to choose from, the largest
    first.
    """

    new_tokens: NewTokens
    need: Need
    sentence: str
    pair: tuple[str, ...]
    missing: tuple[str, ...]
    plain: Recipe
    ways: tuple[Way, ...]


_NONE = NewTokens()


def new_tokens_of(values: Mapping[Any, Any]) -> NewTokens:
    """The new tokens of a file's values; what is not as Axolotl's schema wants it is left out."""
    tokens, special, overrides = (values.get(key) for key in ("tokens", "special_tokens", "added_tokens_overrides"))
    roles = special if isinstance(special, Mapping) else {}
    further = roles.get("additional_special_tokens")
    return NewTokens(
        tokens=tuple(dict.fromkeys(_texts(tokens))),
        special=(
            *((role, roles[role]) for role in _ROLES if isinstance(roles.get(role), str)),
            *(("additional_special_tokens", text) for text in dict.fromkeys(_texts(further))),
        ),
        overridden=tuple(key for key in overrides if isinstance(key, int)) if isinstance(overrides, Mapping) else (),
    )


def read_new_tokens(text: str) -> NewTokens:
    """Tokens to append, as somebody types them: texts with commas between them, or how many.

    Raises InvalidSettings for a number that is none, and for more than is looked at.
    """
    if len(text) > _LONGEST_TEXT:
        raise _unusable(_TOO_MANY)
    number = text.strip()
    if _WHOLE_NUMBER.fullmatch(number):
        found = NewTokens(unnamed=int(number.replace(",", "")[:_MOST_DIGITS]))
    elif _ANY_NUMBER.fullmatch(number):
        raise _unusable(f"A number of new tokens is whole and not negative, got {number[:20]}.")
    else:
        parts = (part.strip() for part in text.split(","))
        found = NewTokens(tokens=tuple(dict.fromkeys(part for part in parts if part)))
    if found.count > _MOST_NEW_TOKENS:
        raise _unusable(_TOO_MANY)
    return found


def _unusable(sentence: str) -> InvalidSettings:
    return InvalidSettings((Finding("tokens", "error", sentence),))


def find_token_problems(recipe: Recipe, skeleton: Skeleton, in_file: NewTokens) -> tuple[Finding, ...]:
    """What Axolotl ends with before training, or may end with: tokens whose embedding and head are not trained.

    And the other way round: both trained in full where no token is new.
    """
    pair = _PAIR_OF.get(skeleton.config.model_type, _USUAL_PAIR)
    missing = tuple(name for name in pair if name not in recipe.lora_modules_to_save)
    need, sentence = _need(recipe, in_file, pair, missing)
    if need == "not needed" and not in_file.count:
        return tuple(_needlessly_saved(recipe, skeleton, pair))
    if need == "not needed" or not missing:
        return ()
    if need == "may be needed":
        return (Finding("special_tokens", "note", sentence),)
    absent = _absent(skeleton, pair)
    fix: Fix = () if absent else (("lora_modules_to_save", (*recipe.lora_modules_to_save, *missing)),)
    why = absent or "A row of an embedding that nothing trains keeps what it started with."
    return (Finding("lora_modules_to_save", "error", sentence, outcome="fails at load", why=why, fix=fix),)


def _needlessly_saved(recipe: Recipe, skeleton: Skeleton, pair: tuple[str, ...]) -> Iterator[Finding]:
    """Embedding and head trained in full where no token is new, which costs more than most adapters."""
    kept = tuple(name for name in recipe.lora_modules_to_save if name not in pair)
    saved = [name for name in recipe.lora_modules_to_save if name in pair]
    weights: list[Any] = [
        module.weight
        for path, module in skeleton.model.named_modules()
        if path.rpartition(".")[2] in saved and hasattr(module, "weight")
    ]
    if recipe.adapter and weights:
        named, count = " and ".join(saved), sum(weight.numel() for weight in weights)
        message = f"lora_modules_to_save trains {named} in full, {count:,} parameters, and the file adds no token."
        why = "Only the rows of new tokens need it; a pad_token alone is never trained."
        fix: Fix = (("lora_modules_to_save", kept or None),)
        yield Finding("lora_modules_to_save", "warning", message, why=why, fix=fix)


def advise_on_new_tokens(
    recipe: Recipe, skeleton: Skeleton, in_file: NewTokens, more: NewTokens = _NONE
) -> NewTokensAdvice:
    """Whether the pair is needed, and what it and its alternatives cost. Raises what plan_adapter raises.

    more: tokens that the file does not have yet; a fix adds those that have a name.
    """
    new_tokens = in_file.and_also(more)
    pair = _PAIR_OF.get(skeleton.config.model_type, _USUAL_PAIR)
    missing = tuple(name for name in pair if name not in recipe.lora_modules_to_save)
    need, sentence = _need(recipe, new_tokens, pair, missing)
    plain = _without(recipe, pair)
    asked = recipe.adapter and new_tokens.count
    ways = tuple(_ways(plain, skeleton, new_tokens, pair)) if asked else ()
    added: dict[str, Any] = {"tokens": new_tokens.tokens} if new_tokens.tokens != in_file.tokens else {}
    ways = tuple(_held_against(recipe, way, added) for way in ways)
    return NewTokensAdvice(new_tokens, need, sentence, pair, missing, plain, ways)


def _without(recipe: Recipe, pair: tuple[str, ...]) -> Recipe:
    return recipe.changed(
        lora_modules_to_save=tuple(name for name in recipe.lora_modules_to_save if name not in pair),
        peft_trainable_token_indices=None,
        peft_ensure_weight_tying=False,
    )


def _held_against(recipe: Recipe, way: Way, added: dict[str, Any]) -> Way:
    """The way, with what leads to it from a recipe."""
    if way.recipe is None:
        return way
    is_chosen = all(_kind(name, recipe) == _kind(name, way.recipe) for name in _TRAINING)
    if not way.settings:
        return replace(way, is_chosen=is_chosen and not added)
    wanted = {name: _written(way.recipe, name) for name in _TRAINING}
    changes = {name: value for name, value in wanted.items() if value != _written(recipe, name)}
    return replace(way, fix=tuple((changes | added).items()), is_chosen=is_chosen and not added)


def _written(recipe: Recipe, name: str) -> Any:
    """A value as it stands in a file; None where the key is not needed."""
    value = getattr(recipe, name)
    return dict(value) if isinstance(value, Mapping) else value or None


def _kind(name: str, recipe: Recipe) -> object:
    """What a recipe trains by one setting; not by which order, or which rows."""
    value = getattr(recipe, name)
    if name == "peft_trainable_token_indices":
        return frozenset(value) if isinstance(value, Mapping) else frozenset(_USUAL_PAIR[:1] if value else ())
    return frozenset(value) if isinstance(value, tuple) else value


def _texts(value: Any) -> Iterator[str]:
    yield from (text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _need(recipe: Recipe, new_tokens: NewTokens, pair: tuple[str, ...], missing: tuple[str, ...]) -> tuple[Need, str]:
    both = " and ".join(pair)
    if not recipe.adapter:
        return "not needed", "Without an adapter every weight is trained, embeddings too."
    if new_tokens.appended:
        state = "and the file saves them" if not missing else f"and the file lacks {' and '.join(missing)}"
        return "needed", f"With tokens, Axolotl starts only if lora_modules_to_save names {both}, {state}."
    if any(role in _ROLES for role, _ in new_tokens.special):
        named = ", ".join(role for role, _ in new_tokens.special if role in _ROLES)
        sentence = (
            f"Only if the tokenizer does not know the new {named}: Axolotl then starts only with {both} in"
            " lora_modules_to_save."
        )
        return "may be needed", sentence
    if new_tokens.special or new_tokens.overridden:
        return "not needed", "Axolotl does not ask for it, but rows that nothing trains keep what they started with."
    return "not needed", "The file adds no token; a pad_token alone is never trained."


def _ways(plain: Recipe, skeleton: Skeleton, new_tokens: NewTokens, pair: tuple[str, ...]) -> Iterator[Way]:
    saved = (*plain.lora_modules_to_save, *pair)
    tied = _is_tied(skeleton)
    whole = {"lora_modules_to_save": saved}
    absent = _absent(skeleton, pair)
    twice = "Embedding and head are tied: saved apart, they count twice and part ways." if tied and not absent else ""
    yield _way("Train both in full", plain, skeleton, whole, caution=absent or twice)
    if tied and not absent:
        yield _way("Train both in full, tied", plain, skeleton, {**whole, "peft_ensure_weight_tying": True})
    yield from _row_ways(plain, skeleton, new_tokens, tied=tied)


def _row_ways(plain: Recipe, skeleton: Skeleton, new_tokens: NewTokens, *, tied: bool) -> Iterator[Way]:
    embedding, head = _names_in(skeleton)
    known = new_tokens.count == len(new_tokens.overridden)
    rows = new_tokens.overridden if known else tuple(range(new_tokens.count))
    caution = _REFUSED if new_tokens.appended else "" if known else _IDS_UNKNOWN
    if tied or head is None:
        by_title: dict[str, Any] = {"Train only their rows": {embedding: rows}}
    else:
        by_title = {
            "Train only their rows": {embedding: rows, head: rows},
            "Train only their rows of the embedding": {embedding: rows},
        }
    for title, value in by_title.items():
        changes = {"peft_trainable_token_indices": value}
        yield _way(title, plain, skeleton, changes, caution=caution, shown=changes if known else {})


def _way(
    title: str,
    plain: Recipe,
    skeleton: Skeleton,
    changes: dict[str, Any],
    *,
    caution: str = "",
    shown: dict[str, Any] | None = None,
) -> Way:
    settings = tuple((changes if shown is None else shown).items())
    try:
        recipe = plain.changed(**changes)
        before, after = plan_adapter(plain, skeleton), plan_adapter(recipe, skeleton)
    except ExplorerError as error:
        return Way(title, settings, None, None, None, refused=str(error), caution=caution)
    return Way(
        title,
        settings,
        recipe,
        after.trainable_params - before.trainable_params,
        after.adapter_file_bytes - before.adapter_file_bytes,
        caution=caution,
    )


def _absent(skeleton: Skeleton, pair: tuple[str, ...]) -> str:
    """What to say where Axolotl asks for a module that this model does not have."""
    names = {path.rpartition(".")[2] for path, _ in skeleton.model.named_modules()}
    lacking = [name for name in pair if name not in names]
    if not lacking:
        return ""
    embedding, _ = _names_in(skeleton)
    named = " and no ".join(lacking)
    return f"This model has no {named}, which Axolotl asks for all the same; its embedding is {embedding}."


def _is_tied(skeleton: Skeleton) -> bool:
    model: Any = skeleton.model
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return head is not None and embedding.weight is head.weight


def _names_in(skeleton: Skeleton) -> tuple[str, str | None]:
    """The last parts of the paths of embedding and head."""
    model: Any = skeleton.model
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): path.rpartition(".")[2] for path, module in model.named_modules()}
    return names[id(embedding)], names[id(head)] if head is not None else None
