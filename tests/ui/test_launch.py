"""How the page is served: to yourself, and to strangers."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

import app
from lora_explorer.ui import launch


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Gradio was told, instead of serving."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **options: told.update(options))
    monkeypatch.setattr(launch, "Timer", lambda seconds, call, arguments: _Idle())
    monkeypatch.delenv("SPACE_ID", raising=False)
    return told


class _Idle:
    daemon = False

    def start(self) -> None:
        return


def test_at_home_the_page_is_served_on_this_machine_alone(launched: dict[str, Any]) -> None:
    app.main()
    assert (launched["server_name"], launched["server_port"], launched["share"]) == ("127.0.0.1", 7860, False)


def test_on_a_space_the_page_is_public_without_being_told(
    launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/lora-explorer")
    app.main()
    assert launched["show_error"] is False
    assert launched["server_name"] is None


@pytest.mark.parametrize("public", [False, True])
def test_strangers_upload_kilobytes_and_nothing_watches(launched: dict[str, Any], *, public: bool) -> None:
    launch.launch_page(public=public)
    assert launched["max_file_size"].endswith("kb" if public else "mb")
    assert (launched["enable_monitoring"], launched["strict_cors"], launched["run_history"]) == (False, True, False)
    assert "allowed_paths" not in launched


def test_only_fonts_of_the_visitor_s_system_are_used(launched: dict[str, Any]) -> None:
    launch.launch_page()
    assert launched["theme"]._stylesheets == []
