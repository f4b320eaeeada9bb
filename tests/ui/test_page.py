"""The page as it is built, before anybody looks at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.settings import SETTINGS
from lora_explorer.ui.layout import ASSETS, TAB_IDS
from lora_explorer.ui.page import build_page

MOST_COMPONENTS, MOST_HANDLERS = 330, 180
"""Each takes its time when the page is opened: there were 255 and 131 when this was written."""


@pytest.fixture(scope="module", params=[False, True], ids=["mine", "public"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(build_page(public=request.param).get_config_file())


def test_every_setting_has_one_widget_with_its_key_as_id(config: dict[str, Any]) -> None:
    ids = [component["props"].get("elem_id") for component in config["components"]]
    keys = [setting.key for setting in SETTINGS.values()]
    assert [ids.count(key) for key in keys] == [1] * len(keys)


def test_tabs_stand_in_the_order_by_which_scripts_know_them(config: dict[str, Any]) -> None:
    tabs = [component["props"]["id"] for component in config["components"] if component["type"] == "tabitem"]
    assert tuple(tabs) == TAB_IDS


def test_widgets_stand_in_the_order_in_which_settings_are_declared_first_ones_first(config: dict[str, Any]) -> None:
    ids = [component["props"].get("elem_id") for component in config["components"]]
    groups = dict.fromkeys(setting.group for setting in SETTINGS.values())
    expected = [
        setting.key
        for group in groups
        for more in (False, True)
        for setting in SETTINGS.values()
        if setting.group is group and setting.more is more
    ]
    keys = set(expected)
    assert [element for element in ids if element in keys] == expected


def test_the_page_is_of_few_components(config: dict[str, Any]) -> None:
    assert len(config["components"]) <= MOST_COMPONENTS
    assert len(config["dependencies"]) <= MOST_HANDLERS


def test_no_handler_is_offered_as_an_endpoint(config: dict[str, Any]) -> None:
    called = [dependency for dependency in config["dependencies"] if dependency["backend_fn"]]
    assert called
    assert {dependency["api_visibility"] for dependency in called} == {"private"}


def test_the_live_path_sends_one_value_and_waits_in_no_queue(config: dict[str, Any]) -> None:
    desk = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "desk")
    live = next(found for found in config["dependencies"] if (desk, "count") in map(tuple, found["targets"]))
    assert live["inputs"] == [desk]
    assert live["queue"] is False
    assert live["trigger_mode"] == "always_last"


def test_building_the_page_loads_neither_torch_nor_transformers_nor_plotly() -> None:
    script = (
        "import sys; from lora_explorer.ui import build_page; build_page(); "
        "print([name for name in ('torch', 'transformers', 'peft', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("asset", sorted(ASSETS.iterdir()), ids=lambda asset: asset.name)
def test_no_asset_names_another_host(asset: Path) -> None:
    assert "://" not in asset.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
