"""Every text of the page: what the components hold, what settings and rules say, what code and scripts write.

Each is found where it stands, so that one somebody adds is found too. A value that is put in is `{}`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
import yaml

from lora_explorer import presets
from lora_explorer.languages import key_of
from lora_explorer.recipe_files import recipe_files
from lora_explorer.settings import SETTINGS, Group
from lora_explorer.settings.rules import RULES
from lora_explorer.ui.page import build_page

PACKAGE = Path(__file__).parents[1] / "lora_explorer"
ATTRIBUTES = frozenset({"placeholder", "title", "aria-label", "data-heading", "label"})
_PROPS = ("label", "info", "placeholder")
_VERBATIM = frozenset({"textarea", "pre", "code", "samp", "kbd", "script", "style"})
# Where code writes for the terminal, for programs and for files; all else may come to the page.
_ELSEWHERE = re.compile(
    r"^__init__|cli/|ui/(launch|theme|language)\.|languages\.|declaration\.|model_card|schema\.|link_dictionary"
    r"|report/.*(terminal|records)|settings/recipe\.|questions\."
)
# One sentence for each form of a word that is chosen where the sentence is written.
FORMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "{}: {} {} nothing in this model.{}": (
            "{}: {} matches nothing in this model.{}",
            "{}: {} match nothing in this model.{}",
        ),
        "{}: {} {} nothing in the chosen layers.{}": (
            "{}: {} matches nothing in the chosen layers.{}",
            "{}: {} match nothing in the chosen layers.{}",
        ),
        "{} of its {} layers {} trained: {} bears no more.": (
            "{} of its {} layers is trained: {} bears no more.",
            "{} of its {} layers are trained: {} bears no more.",
        ),
        "is no setting": ("{} is no setting here and not in the file.",),
        "are no settings": ("{} are no settings here and not in the file.",),
        "{} {} here and not in the file.": (),
        "{} {} about the file, not about what is trained.": (
            "{} is about the file, not about what is trained.",
            "{} are about the file, not about what is trained.",
        ),
        "{} {} about data, logging or saving, and left out.": (
            "{} is about data, logging or saving, and left out.",
            "{} are about data, logging or saving, and left out.",
        ),
        "{} has {} usable row{}, and val_set_size {} leaves none to train on; lower it or add rows.": (
            "{} has {} usable row, and val_set_size {} leaves none to train on; lower it or add rows.",
            "{} has {} usable rows, and val_set_size {} leaves none to train on; lower it or add rows.",
        ),
        "W keeps its {}. {} {} to train, {} of W.": (
            "W keeps its {}.",
            "{} add {} to train, {} of W.",
            "{} adds {} to train, {} of W.",
        ),
        "of about {}": ("{} has {} of about {}, which holds where nothing is typed ({}).",),
        "as the name of the entry": (),
        "and no": ("{} and no {}",),
        "Memory ran out": ("Memory ran out {}.",),
        "A file of the run outgrew what is allowed here": ("A file of the run outgrew what is allowed here {}.",),
        "The disk was full": ("The disk was full {}.",),
        "There was no room for a file of the run": ("There was no room for a file of the run {}.",),
        "the column{} {}": ("the column {}", "the columns {}"),
        "changes what is trained, and has no setting here": ("{} changes what is trained, and has no setting here.",),
        "has no setting here; what is trained does not change": (
            "{} has no setting here; what is trained does not change.",
        ),
        "within sequence_len {}": ("{} has no token to train on within sequence_len {}.",),
        "has no configuration {}; it has": ("{} has no configuration {}; it has {}.",),
        "has several configurations; name": ("{} has several configurations; name {} as the name of the entry.",),
    }
)
_ALL_FORMS = frozenset(form for forms in FORMS.values() for form in forms)
# Arguments that nobody reads on the page.
_UNSEEN = re.compile(
    r"class_|id|elem_.*|data_.*|style|role|type|name|d|js|encoding|href|viewBox|.*_template|event|lang"
)
_WORDS = re.compile(r"[a-z]{2,}[,;:]? [(\w{]|^[A-Z][a-z]+(?:$|[ .?:…])|^\{\} [a-z]{3,}|[a-z]{2,} \{\}")
_CODE = re.compile(
    r"[<>=#|\\]|;(?! )|\w\(|^[\w.{}-]+$(?<![A-Z][a-z])|^[^\w`{]|--"
    r"|[a-z]-\{|-label |-screen|noopener|sans-serif|^sentence "
    r"|^series |tool icon|arXiv|^Axolotl 0|num_items|^text, tspan|^title, desc|^cell |^sweep-|^\{ name"
)
# What a fix writes into a file, lists of keys, and code in other files.
_FIX = re.compile(r"^[a-z_.\d]+: [^ ]+$|^(peft: )?\{\{|^[\w. -]+_[\w. -]+_[\w. -]*$|^(import|from) \w|\.yml$")


def texts_of_settings() -> Iterator[str]:
    """Labels, help, what there is to know more, and groups."""
    yield from (group.value for group in Group)
    for setting in SETTINGS.values():
        yield from (setting.label, setting.help, *filter(None, [setting.explanation]))


def texts_of_rules() -> Iterator[str]:
    """What the rules between settings say, and why."""
    for rule in RULES:
        yield key_of(rule.message)
        if rule.why:
            yield rule.why


def texts_of_files() -> Iterator[str]:
    """What recipes are for, where sizes of data and prices are from, and what keys mean that are no settings."""
    yield from (entry["source"] for name in ("data_sets.yml", "gpu_prices.yml") for entry in _listed(name))
    for recipe in recipe_files():
        yield from (recipe.title, recipe.purpose)
    yield from _listed("axolotl_meanings.yml")["meanings"].values()


def _listed(name: str) -> Any:
    return yaml.safe_load((presets.folder() / name).read_text(encoding="utf-8"))


def texts_of_page(blocks: gr.Blocks) -> Iterator[str]:
    """Labels, help, placeholders, choices, buttons and tabs of the components, and what stands in their HTML."""
    for block in blocks.blocks.values():
        config = block.get_config()
        yield from (config[prop] for prop in _PROPS if isinstance(config.get(prop), str))
        kind = block.get_block_name()
        if kind == "html":
            template = config.get("html_template") or "${value}"
            value = config.get("value") if template == "${value}" else ""
            yield from texts_in_html(f"{template} {value if isinstance(value, str) else ''}")
        elif "button" in kind:
            yield config["value"] or ""
        elif kind in ("dropdown", "radio") and config.get("elem_id") != "base_model":
            yield from (label for label, value in config["choices"] if label != value)


def texts_in_html(source: str) -> Iterator[str]:
    """Texts and attributes of people's words; what a template puts in is left out."""
    reader = _Reader()
    reader.feed(re.sub(r"\$\{[^}]*\}", "", source))
    yield from reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._verbatim: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._verbatim or tag in _VERBATIM or ("translate", "no") in attrs:
            self._verbatim.append(tag)
            return
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        if self._verbatim and self._verbatim[-1] == tag:
            self._verbatim.pop()

    def handle_data(self, data: str) -> None:
        if not self._verbatim and data.strip():
            self.found.append(data.strip())


def texts_in_code() -> Iterator[str]:
    """Words for people in what writes fragments of the page."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if _ELSEWHERE.search(file.relative_to(PACKAGE).as_posix()):
            continue
        for text, seen in _literals(file):
            if seen and is_for_people(text):
                yield from FORMS.get(text, (text,))


def texts_in_scripts() -> Iterator[str]:
    for file in sorted((PACKAGE / "ui" / "assets").glob("*.js")):
        yield from (text for text in script_literals(file) if is_for_people(text))


def is_for_people(text: str) -> bool:
    """Words, and not names, styles or code."""
    own_letters = sum(sign.isalpha() for sign in text)
    if " " in text and text.endswith(".") and not text.startswith(("{}.", ".")):
        return own_letters > 4 and not re.search(r"[<>|\\]|^\{ name", text)
    return own_letters > 4 and bool(_WORDS.search(text)) and not _CODE.search(text) and not _FIX.search(text)


def is_known(text: str, known: Mapping[str, str]) -> bool:
    """Whether a text has a translation: as a whole, behind a value, or as a sentence whose values have one."""
    if text in known or f"{{}} {text}" in known or f"{{}}: {text}" in known or not any(sign.isalpha() for sign in text):
        return True
    return any(
        all(is_known(value, known) for value in match.groups())
        for key in known
        if "{}" in key and (match := re.fullmatch(re.escape(key).replace(r"\{\}", "(.+?)"), text))
    )


def is_written(text: str) -> bool:
    """Whether the package holds a text: alone, behind a value or a comma, or as a counted noun."""
    counted = re.fullmatch(r"\{\} ([\w ]+?)s?", text)
    forms = (text, re.sub(r"^\{\}[,:]? ", "", text), f", {text}", f"{{}}; {text}", counted[1] if counted else text)
    return text in _ALL_FORMS or any(form in written_anywhere() for form in forms)


@lru_cache(maxsize=1)
def written_anywhere() -> frozenset[str]:
    """Every literal of the package: what a catalogue may speak of."""
    code = (text for file in PACKAGE.rglob("*.py") for text, _ in _literals(file))
    scripts = (text for file in (PACKAGE / "ui" / "assets").glob("*.js") for text in script_literals(file))
    pages = (build_page(public=public) for public in (False, True))
    shown = (in_one(text) for blocks in pages for text in texts_of_page(blocks))
    return frozenset((*code, *scripts, *shown, *texts_of_files(), *texts_of_settings(), *texts_of_rules()))


_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def script_literals(file: Path) -> Iterator[str]:
    source = re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    # A line by itself as well: a quotation mark in a regular expression would turn what follows it inside out.
    for literal in (each for part in (source, *source.splitlines()) for each in _LITERAL.findall(part)):
        text = "".join(literal)
        yield in_one(re.sub(r"\$\{[^}]*\}", "{}", text).strip())


def _literals(file: Path) -> Iterator[tuple[str, bool]]:
    """Every text of a module but its docstrings, and whether it stands where people might see it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unseen = {id(node) for node in _unseen(tree)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in inside and isinstance(node, ast.Constant):
            continue
        text = in_one(re.sub(r"\{\{\}!r\}|\{[a-z_]+(:[.,\d]+[a-z]?)?\}", "{}", _text(node))).strip()
        if text:
            yield text, id(node) not in unseen


def in_one(text: str) -> str:
    """Values that stand side by side are one: nobody sees where the second begins."""
    return re.sub(r"(\{\})+", "{}", text)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def _unseen(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value  # A docstring.
        elif isinstance(node, ast.keyword) and node.arg and _UNSEEN.fullmatch(node.arg):
            yield from ast.walk(node.value)
        elif isinstance(node, ast.Raise):
            continue
