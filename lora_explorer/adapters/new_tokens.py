"""New tokens: whether embedding and head must be trained beside the adapter, and what each way of it trains.

A row of an embedding that nothing trains keeps what it started with, so a new token there means nothing. Axolotl 0.21
ends before training where a file adds `tokens` and does not save the two modules it knows for the family
(axolotl/loaders/utils.py), and where a special token is new to the tokenizer (axolotl/loaders/tokenizer.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lora_explorer.adapters.plan import plan_adapter
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.errors import ExplorerError
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


@dataclass(frozen=True)
class NewTokens:
    """What a file says about tokens.

    tokens: appended to the tokenizer. special: role and token, which may be known to it; padding is never trained.
    overridden: reserved ids of the tokenizer that get another text.
    """

    tokens: tuple[str, ...] = ()
    special: tuple[tuple[str, str], ...] = ()
    overridden: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return len(self.tokens) + len(self.special) + len(self.overridden)


@dataclass(frozen=True)
class Way:
    """One way to train new tokens.

    settings: keys to write, with the ids of the rows left out where nobody can know them. recipe: the recipe with them,
    any ids standing for the real ones. trainable_params, adapter_file_bytes: beyond those of the recipe without.
    refused: why the way is closed, in which case both are None. caution: what else to know.
    """

    title: str
    settings: tuple[tuple[str, Any], ...]
    recipe: Recipe | None
    trainable_params: int | None
    adapter_file_bytes: int | None
    refused: str = ""
    caution: str = ""


@dataclass(frozen=True)
class NewTokensAdvice:
    """need and sentence: whether `lora_modules_to_save` must name the pair, and why.

    pair: the two names Axolotl looks for; missing: those of them that the recipe does not save.
    ways: what there is to choose from, the largest first.
    """

    new_tokens: NewTokens
    need: Need
    sentence: str
    pair: tuple[str, ...]
    missing: tuple[str, ...]
    ways: tuple[Way, ...]


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


def advise_on_new_tokens(recipe: Recipe, skeleton: Skeleton, new_tokens: NewTokens) -> NewTokensAdvice:
    """Whether the pair is needed, and what it and its alternatives cost. Raises what plan_adapter raises."""
    pair = _PAIR_OF.get(skeleton.config.model_type, _USUAL_PAIR)
    missing = tuple(name for name in pair if name not in recipe.lora_modules_to_save)
    need, sentence = _need(recipe, new_tokens, pair, missing)
    ways = tuple(_ways(recipe, skeleton, new_tokens, pair)) if recipe.adapter and new_tokens.count else ()
    return NewTokensAdvice(new_tokens, need, sentence, pair, missing, ways)


def _texts(value: Any) -> Iterator[str]:
    yield from (text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _need(recipe: Recipe, new_tokens: NewTokens, pair: tuple[str, ...], missing: tuple[str, ...]) -> tuple[Need, str]:
    both = " and ".join(pair)
    if not recipe.adapter:
        return "not needed", "Without an adapter every weight is trained, embeddings too."
    if new_tokens.tokens:
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


def _ways(recipe: Recipe, skeleton: Skeleton, new_tokens: NewTokens, pair: tuple[str, ...]) -> Iterator[Way]:
    plain = recipe.changed(
        lora_modules_to_save=tuple(name for name in recipe.lora_modules_to_save if name not in pair),
        peft_trainable_token_indices=None,
        peft_ensure_weight_tying=False,
    )
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
    refused = (
        "Axolotl refuses tokens without the pair; give them reserved ids with added_tokens_overrides instead."
        if new_tokens.tokens
        else ""
    )
    if tied or head is None:
        by_title: dict[str, Any] = {"Train only their rows": {embedding: rows}}
    else:
        by_title = {
            "Train only their rows": {embedding: rows, head: rows},
            "Train only their rows of the embedding": {embedding: rows},
        }
    for title, value in by_title.items():
        changes = {"peft_trainable_token_indices": value}
        yield _way(title, plain, skeleton, changes, caution=refused, shown=changes if known else {})


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
