"""The page. It translates between widgets and the core, and holds no fact about LoRA.

Importing this package does not load gradio; building a page does.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["build_page", "launch_page"]


def build_page(*, public: bool = False) -> gr.Blocks:
    """See `lora_explorer.ui.page.build_page`."""
    from lora_explorer.ui import page

    return page.build_page(public=public)


def launch_page(host: str | None = "127.0.0.1", port: int | None = 7860, *, public: bool = False) -> None:
    """See `lora_explorer.ui.launch.launch_page`."""
    # What is imported stays: looking through it again and again takes a fifth of the time until the page is up.
    gc.disable()
    from lora_explorer.ui import launch

    launch.launch_page(host, port, public=public)
