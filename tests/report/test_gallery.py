"""The gallery of presets in words and cards: figures by name, what is not known, and strangers' text."""

from __future__ import annotations

import re

from lora_explorer.exploration.comparison import Figures
from lora_explorer.memory.result import CardFit
from lora_explorer.recipe_files import RecipeFile, recipe_files
from lora_explorer.report.gallery import gallery, preset_figures, preset_model
from lora_explorer.report.recipe_figures import NO_CARD, figures_in_words, figures_record

FIT = CardFit("RTX 3060 12GB", 12 << 30, True, 3 << 30, "fits", process_bytes=8 << 30)
KNOWN = Figures(1_234_567, 0.5, 5 << 20, 2.0, 8 << 30, fit=FIT)


def said(figures: Figures | None) -> dict[str, str]:
    return {each.name: each.said for each in figures_in_words(figures)}


def test_what_is_known_is_told_exactly_and_with_its_unit() -> None:
    assert said(KNOWN) == {
        "trainable-params": "1,234,567",
        "adapter-file": "5 MiB",
        "peak-memory": "8.0 GiB",
        "smallest-card": "RTX 3060 12GB",
    }
    html = preset_figures(KNOWN)
    assert 'data-figure="trainable-params" data-value="1234567"' in html
    assert f'data-figure="peak-memory" data-value="{8 << 30}"' in html
    assert "3.0 GiB to spare" in html


def test_what_is_not_known_yet_and_what_never_will_be_are_told_apart() -> None:
    assert set(said(None).values()) == {"…"}
    assert set(said(Figures(problem="It is too large.")).values()) == {"unknown"}
    assert said(Figures(1, 0.1, 2, None, 500 << 30))["smallest-card"] == NO_CARD
    assert "It is too large." in preset_figures(Figures(problem="It is too large."))


def test_every_state_of_a_card_has_the_same_figures_in_the_same_places() -> None:
    def labels(figures: Figures | None) -> list[str]:
        return re.findall("<dt>(.*?)</dt>", preset_figures(figures))

    assert labels(None) == labels(KNOWN) == labels(Figures(problem="No."))
    assert len(labels(None)) == 4


def test_the_record_of_a_script_has_the_same_figures() -> None:
    record = figures_record(KNOWN)
    assert (record["trainable_params"], record["process_bytes"], record["gpu"]) == (1_234_567, 8 << 30, FIT.gpu)
    assert figures_record(Figures(problem="No."))["problem"] == "No."


def test_each_recipe_has_one_card_with_its_title_purpose_model_and_whole_text() -> None:
    files = recipe_files()
    html = gallery([(file, "openai-community/gpt2") for file in files], most=30, longest_name=80)
    assert re.findall('data-preset="(.*?)"', html) == [file.name for file in files]
    assert html.count("GPT-2 124M") == len(files)
    for file in files:
        assert f"<h3>{file.title}</h3>" in html
        assert f'aria-label="Open: {file.title}"' in html
    assert "pad_token: &lt;|endoftext|&gt;" in html


def test_a_text_that_looks_like_html_is_shown_as_text() -> None:
    file = RecipeFile("x", "<b>t</b>", "<i>p</i>", "# </code><script>alert(1)</script>\n")
    html = gallery([(file, "<img src=x>")], most=3, longest_name=8)
    assert not re.search("<(b|i|script|img)[ >]", html)
    assert "<" not in preset_model("").replace("no base model", "")
    assert "&lt;b&gt;" in preset_figures(Figures(problem="<b>"))
