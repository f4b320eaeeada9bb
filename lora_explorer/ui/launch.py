"""Serving the page: to yourself, or to strangers."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from threading import Timer
from typing import Any

from lora_explorer.preview.supervision.queue import RunQueue
from lora_explorer.preview.supervision.standby import Standby
from lora_explorer.ui import language
from lora_explorer.ui.layout import ASSETS
from lora_explorer.ui.page import Previews, build_page
from lora_explorer.ui.theme import page_theme
from lora_explorer.ui.tracer import Tracer
from lora_explorer.ui.warm_up import warm_up

# Data to train on; a YAML or a config.json is refused by its reader when it is larger than those are.
LARGEST_UPLOAD = "256mb"
LARGEST_PUBLIC_UPLOAD = "512kb"
# The first page is up long before; a visitor who comes earlier starts the loading himself.
_WARM_UP_AFTER_SECONDS = 4.0


def launch_page(host: str | None = "127.0.0.1", port: int | None = 7860, *, public: bool = False) -> None:
    """Serve until interrupted. host, port: None leaves them to the hosting environment. public: for strangers."""
    # Blocks takes a switch of its own; the version check at launch reads only the environment.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    tracer = Tracer()
    standby = Standby()
    previews = Previews(Tracer(), RunQueue(start=standby), standby.prepare)
    page = build_page(public=public, tracer=tracer, background=Tracer(background=True), previews=previews)
    _behind_the_page(_WARM_UP_AFTER_SECONDS, warm_up, [tracer, previews.aside])
    # What an earlier start left running or waiting goes on.
    _behind_the_page(0.0, previews.queue.adopt, [])
    # Modules and the page are there for good and need not be looked through while it answers.
    gc.freeze()
    gc.enable()
    page.launch(
        server_name=host,
        server_port=port,
        theme=page_theme(),
        css=style_sheets(),
        head=language.head(),
        i18n=language.choices_of(page),
        app_kwargs={"routes": language.routes()},
        footer_links=["settings"],
        run_history=False,
        share=False,
        show_error=not public,
        strict_cors=True,
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size=LARGEST_PUBLIC_UPLOAD if public else LARGEST_UPLOAD,
    )


def style_sheets() -> str:
    """All of them as one; that of the whole page comes first."""
    sheets = sorted(ASSETS.glob("*.css"), key=lambda sheet: (sheet.name != "page.css", sheet.name))
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def _behind_the_page(after_seconds: float, call: Callable[..., object], arguments: list[Any]) -> None:
    timer = Timer(after_seconds, call, arguments)
    timer.daemon = True
    timer.start()
