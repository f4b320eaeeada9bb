"""Entry for `python app.py` and for a Hugging Face Space."""

from __future__ import annotations

import os

from lora_explorer.ui import launch_page


def main() -> None:
    """Serve on this machine, or, on a Space, to strangers on the Space's own address."""
    if "SPACE_ID" in os.environ:
        launch_page(host=None, port=None, public=True)
    else:
        launch_page(port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))


if __name__ == "__main__":
    main()
