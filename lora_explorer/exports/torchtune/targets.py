"""What torchtune adapts: attention projections by name, the MLP as a whole, and the head."""

from __future__ import annotations

from collections.abc import Iterator

from lora_explorer.exports.target_names import ALL_LINEAR
from lora_explorer.exports.vocabulary import Conversion, Said, Values, otherwise
from lora_explorer.settings import Recipe

TITLE = "torchtune"
# By Axolotl's names, in the order in which they stand in a layer.
ATTENTION = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "output_proj"}
MLP = ("gate_proj", "up_proj", "down_proj")
HEAD = "lm_head"
_KEYS = ("model.lora_attn_modules", "model.apply_lora_to_mlp", "model.apply_lora_to_output")


def targets(*, tied: bool) -> Conversion:
    """tied: the model's head is its embedding, and has no adapter."""

    def write(recipe: Recipe) -> Iterator[Said]:
        named = _named(recipe)
        leaves = {name.rpartition(".")[2] for name in named}
        yield _KEYS[0], [word for name, word in ATTENTION.items() if name in leaves]
        yield _KEYS[1], leaves.issuperset(MLP)
        if not tied:
            yield _KEYS[2], HEAD in leaves
        yield from _unsaid(recipe, named, tied=tied)

    return Conversion(("lora_target_linear", "lora_target_modules"), _KEYS, write, _read)


def _named(recipe: Recipe) -> tuple[str, ...]:
    if recipe.lora_target_linear or recipe.lora_target_modules == ALL_LINEAR:
        # Every builder here builds exactly these linear modules, and the head.
        own = recipe.lora_target_modules if isinstance(recipe.lora_target_modules, tuple) else ()
        return tuple(dict.fromkeys((*ATTENTION, *MLP, *own)))
    return recipe.lora_target_modules if isinstance(recipe.lora_target_modules, tuple) else ()


def _unsaid(recipe: Recipe, named: tuple[str, ...], *, tied: bool) -> Iterator[Said]:
    if isinstance(recipe.lora_target_modules, str) and not recipe.lora_target_linear and not named:
        message = f"{TITLE} takes names only, so the regex of lora_target_modules is not in the file."
        yield otherwise("lora_target_modules", message)
        return
    leaves = {name.rpartition(".")[2] for name in named}
    some_of_mlp = [name for name in MLP if name in leaves and not leaves.issuperset(MLP)]
    others = [name for name in named if name.rpartition(".")[2] not in {*ATTENTION, *MLP, HEAD}]
    narrow = [name for name in named if "." in name]
    if some_of_mlp:
        message = f"{TITLE} adapts gate, up and down projection together or none; {', '.join(some_of_mlp)} is left out."
        yield otherwise("lora_target_modules", message)
    elif others or (tied and HEAD in leaves):
        left = ", ".join([*others, *([HEAD] if tied and HEAD in leaves else [])])
        yield otherwise("lora_target_modules", f"{TITLE} does not adapt {left} here.")
    elif narrow:
        message = f"{TITLE} adapts {narrow[0].rpartition('.')[2]} wherever it is, not only as {narrow[0]}."
        yield otherwise("lora_target_modules", message)


def _read(entries: Values) -> Iterator[Said]:
    by_word = {word: name for name, word in ATTENTION.items()}
    words = entries.get(_KEYS[0])
    named = [by_word.get(word, word) for word in words if isinstance(word, str)] if isinstance(words, list) else []
    named += [*MLP] if entries.get(_KEYS[1]) else []
    named += [HEAD] if entries.get(_KEYS[2]) else []
    yield "lora_target_modules", named or None
