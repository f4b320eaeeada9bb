"""Rules about what is adapted, and about the regexes that say it."""

from __future__ import annotations

from collections.abc import Iterator

from lora_explorer.findings import Finding, Fix, Outcome
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.regex import find_regex_problem
from lora_explorer.settings.rules.rule import Rule, adapted

REGEX_SIGNS = frozenset("\\*+?[](){}|^$")
# Every name is compared with every module of the model, and every replicated layer is built.
MOST_NAMES = 2000
MOST_LAYERS = 1024
_NAMES = (
    "lora_target_modules",
    "lora_target_parameters",
    "lora_modules_to_save",
    "lora_rank_pattern",
    "lora_alpha_pattern",
)


def _not_too_many(setting: str) -> Rule[Recipe]:
    return Rule(
        setting,
        "error",
        lambda recipe: (
            len(getattr(recipe, setting) or ()) > MOST_NAMES and not isinstance(getattr(recipe, setting), str)
        ),
        f"{setting} holds more than {MOST_NAMES:,} names; name endings such as q_proj need far fewer.",
    )


TARGET_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "lora_target_modules",
        "error",
        lambda recipe: (
            adapted(recipe)
            and not (recipe.lora_target_linear or recipe.lora_target_modules or recipe.target_parameter_names)
        ),
        "Nothing is adapted yet: set lora_target_linear, lora_target_modules or lora_target_parameters.",
        "lora_target_linear: true",
        "fails at load",
        fix=(("lora_target_linear", True),),
    ),
    Rule(
        "lora_target_parameters",
        "error",
        lambda recipe: isinstance(recipe.lora_target_parameters, str),
        "lora_target_parameters must be a list: Axolotl accepts the text, PEFT then refuses it.",
        "[{lora_target_parameters}]",
        "fails at load",
        fix=lambda recipe: (("lora_target_parameters", recipe.target_parameter_names),),
    ),
    Rule(
        "peft_layers_to_transform",
        "error",
        lambda recipe: (
            isinstance(recipe.lora_target_modules, str)
            and bool(recipe.peft_layers_to_transform)
            and not recipe.lora_target_linear
        ),
        "peft_layers_to_transform does not go with a single string as lora_target_modules; give a list of names.",
        outcome="fails at load",
        why="A regex speaks of whole paths, layer numbers included, so PEFT takes no second list of layers.",
    ),
    Rule(
        "peft_layer_replication",
        "error",
        lambda recipe: sum(end - start for start, end in recipe.peft_layer_replication) > MOST_LAYERS,
        f"peft_layer_replication builds more than {MOST_LAYERS:,} layers.",
    ),
    *(_not_too_many(name) for name in _NAMES),
    Rule(
        "peft_layers_pattern",
        "error",
        lambda recipe: bool(recipe.peft_layers_pattern) and not recipe.peft_layers_to_transform,
        "peft_layers_pattern needs peft_layers_to_transform.",
        outcome="rejects",
        fix=(("peft_layers_pattern", None),),
    ),
    Rule(
        "lora_target_modules",
        "warning",
        lambda recipe: recipe.lora_target_linear and isinstance(recipe.lora_target_modules, str),
        "Beside lora_target_linear a string in lora_target_modules counts as one more name, and matches nothing.",
        outcome="changes",
        why="Axolotl puts the string into one list with the names that it finds.",
        fix=lambda recipe: (("lora_target_modules", None),) if recipe.lora_target_modules == "all-linear" else (),
    ),
)


def regex_findings(recipe: Recipe) -> Iterator[Finding]:
    """Regexes that do not compile, and regexes where only names are compared."""
    yield from _broken_regexes(recipe)
    yield from _regexes_in_a_list(recipe)


def _broken_regexes(recipe: Recipe) -> Iterator[Finding]:
    """PEFT compiles a string target, every pattern key and layer list; Axolotl compiles every list item."""
    for name in ("lora_target_modules", "lora_rank_pattern", "lora_alpha_pattern", "peft_layers_pattern"):
        value = getattr(recipe, name) or ()
        listed = name == "lora_target_modules" and not isinstance(value, str)
        for text in (value,) if isinstance(value, str) else value:
            problem = find_regex_problem(text)
            if problem:
                message = f"{name}: {_shortened(text)!r} {problem.sentence}."
                outcome: Outcome | None = ("rejects" if listed else "fails at load") if problem.is_invalid else None
                yield Finding(name, "error", message, outcome=outcome)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def _regexes_in_a_list(recipe: Recipe) -> Iterator[Finding]:
    listed = recipe.lora_target_modules
    for text in listed if isinstance(listed, tuple) else ():
        if REGEX_SIGNS & set(text):
            message = (
                f"lora_target_modules: {text!r} is in a list, where PEFT compares it as a name and not as a regex."
            )
            # Beside other names only the one who wrote it knows what was meant.
            alone = listed == (text,)
            fix: Fix = (("lora_target_modules", text),) if alone else ()
            suggestion = f"lora_target_modules: {text}" if alone else None
            yield Finding("lora_target_modules", "warning", message, suggestion, outcome="drops", fix=fix)
