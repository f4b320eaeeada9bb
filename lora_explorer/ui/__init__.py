"""The page. It translates between widgets and the core, and holds no fact about LoRA."""

from lora_explorer.ui.launch import launch_page
from lora_explorer.ui.page import build_page

__all__ = ["build_page", "launch_page"]
