"""Colours and fonts. Only fonts that the visitor's system has: no request leaves the page for one."""

from __future__ import annotations

import gradio as gr

_TEXT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
_CODE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def page_theme() -> gr.themes.Base:
    return gr.themes.Base(primary_hue="indigo", neutral_hue="slate", radius_size="md", font=_TEXT, font_mono=_CODE).set(
        body_background_fill="#f7f8fb",
        body_background_fill_dark="#0e1116",
        body_text_color="#16191f",
        body_text_color_dark="#e7eaee",
        body_text_color_subdued="#5a6372",
        body_text_color_subdued_dark="#98a2b1",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#171b21",
        background_fill_secondary="#f1f3f7",
        background_fill_secondary_dark="#1f252d",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171b21",
        border_color_primary="#e2e6ed",
        border_color_primary_dark="#2a313a",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0f1318",
        input_border_color="#d5dae3",
        input_border_color_dark="#343c47",
        input_border_width="1px",
        color_accent="#3b5bdb",
        button_secondary_background_fill="#eef0f5",
        button_secondary_background_fill_hover="#e3e7ee",
        button_secondary_background_fill_dark="#232a33",
        button_secondary_background_fill_hover_dark="#2d3641",
        button_primary_background_fill="#3b5bdb",
        button_primary_background_fill_hover="#2f4cc4",
        button_primary_background_fill_dark="#5c7cfa",
        button_primary_background_fill_hover_dark="#748ffc",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0b0e13",
    )
