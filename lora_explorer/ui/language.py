"""The page in other languages: how a browser gets the catalogue that it needs, and where a visitor chooses.

Gradio's own `gr.I18n` says which texts of lists Gradio shows in which language; nothing but it can exchange these, for
what a list shows must not become its value. All else is exchanged by `assets/language.js`, from one file that only
browsers ask for whose visitor reads that language, because `gr.I18n` (Gradio 6.31, measured on this page)

- carries labels, help, placeholders and buttons of Gradio's widgets alone, 176 of 2,094 texts: no template, no table,
  no sentence that holds a figure;
- puts all languages into every page: these 176 in two languages made it 45 kB heavier for everybody, an English
  visitor too, of 611 kB; all texts would make it 470 kB heavier.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from hashlib import sha256

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lora_explorer.languages import LANGUAGES, catalogue, translated
from lora_explorer.report.html import Html, tag
from lora_explorer.ui.layout import script_of

KEPT = "lora-explorer.language.1"
"""Where the browser keeps the choice."""
_EXCHANGE = "languages/exchange.js"
# The address changes with the content.
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def routes() -> list[Route]:
    """Where a browser finds the files that only another language needs."""
    return [Route(f"/{path}", _answer(*file)) for path, file in _files().items()]


def head() -> str:
    """The script that exchanges texts; it runs before the first component is drawn."""
    versions = {path: f"{path}?{sha256(content).hexdigest()[:12]}" for path, (content, _) in _files().items()}
    addresses = {language: versions[_path(language)] for language in translated()}
    constants = {"LANGUAGES": dict(LANGUAGES), "CATALOGUES": addresses, "EXCHANGE": versions[_EXCHANGE], "KEPT": KEPT}
    declared = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in constants.items())
    return f"<script>(() => {{\n{declared}{script_of('language.js')}}})();</script>"


def choices_of(blocks: gr.Blocks) -> gr.I18n:
    """The words in lists of choices, for Gradio."""
    words = words_of_choices(blocks)
    return gr.I18n(
        **{
            language: {word: said for word, said in catalogue(language).items() if word in words}
            for language in translated()
        }
    )


def words_of_choices(blocks: gr.Blocks) -> frozenset[str]:
    """What choices show that is not their value. Names of models are among them, and have no translation."""
    lists = (getattr(component, "choices", None) or () for component in blocks.blocks.values())
    return frozenset(label for choices in lists for label, value in choices if label != value)


def build_choice() -> gr.HTML:
    """The list of languages, each under its own name."""
    options = (tag("option", name, value=language, lang=language) for language, name in LANGUAGES.items())
    chosen = tag("select", *options, id="language", translate="no")
    return gr.HTML(
        tag("label", Html("<span>Language</span>"), chosen),
        elem_id="language-choice",
        apply_default_css=False,
        js_on_load=script_of("language_choice.js"),
    )


def _path(language: str) -> str:
    return f"languages/{language}.json"


@lru_cache(maxsize=1)
def _files() -> Mapping[str, tuple[bytes, str]]:
    """Content and media type by path."""
    files = {_EXCHANGE: (script_of("exchange.js").encode(), "text/javascript")}
    for language in translated():
        texts = json.dumps(dict(catalogue(language)), ensure_ascii=False, separators=(",", ":"))
        files[_path(language)] = (texts.encode(), "application/json")
    return files


def _answer(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type, headers=_FOREVER)

    return answer
