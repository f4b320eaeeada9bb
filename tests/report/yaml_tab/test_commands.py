"""What to type in a terminal takes any file name as one word."""

from __future__ import annotations

import re
import shlex
from html import unescape

import pytest

from lora_explorer.report.yaml_tab.commands import command_lines


@pytest.mark.parametrize("name", ["a.yml", "my run.yml", "it's.yml", "$(x).yml", "-x.yml", '"><img>.yml', "größe.yaml"])
def test_commands_name_the_file_and_nothing_else(name: str) -> None:
    html = command_lines(name)
    commands = [unescape(command) for command in re.findall(r'data-copy="([^"]*)"', html)]
    expected = f"./{name}" if name.startswith("-") else name
    assert [shlex.split(command) for command in commands] == [
        ["axolotl", "train", expected],
        ["lora-explorer", "check", expected],
    ]
    assert "<img" not in html
