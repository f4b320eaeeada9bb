"""The long help of every setting, with a source that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lora_explorer.report.setting_help import address_of, setting_help
from lora_explorer.settings import SETTINGS, Setting

PARAMS = [pytest.param(setting, id=name) for name, setting in SETTINGS.items()]


@pytest.mark.parametrize("setting", PARAMS)
def test_the_source_of_every_setting_is_a_link(setting: Setting) -> None:
    address = address_of(setting.source)
    assert address is not None
    assert address.startswith("https://")
    assert f'href="{address}"' in setting_help(setting)


def test_a_paper_is_found_by_its_number() -> None:
    assert address_of("Hu et al. 2021, LoRA, arXiv 2106.09685") == "https://arxiv.org/abs/2106.09685"
    assert address_of("somebody said so") is None


def test_help_shows_code_as_code_and_nothing_as_markup() -> None:
    setting = replace(SETTINGS["lora_r"], explanation="Set `lora_r` <b>now</b>.", source="<i>nobody</i>")
    said = setting_help(setting)
    assert "<code>lora_r</code> &lt;b&gt;now" in said
    assert "&lt;i&gt;nobody" in said
