"""What to type in a terminal with the file that was taken away."""

from __future__ import annotations

import shlex

from lora_explorer.report.html import Html, tag

_COMMANDS = (("axolotl train", "Train with it"), ("lora-explorer check", "Check it in a terminal"))


def command_lines(file_name: str) -> Html:
    """One line for each command, with a button that copies it."""
    # A name that starts with a dash would be read as an option.
    quoted = shlex.quote(f"./{file_name}" if file_name.startswith("-") else file_name)
    return tag("ul", *(_line(f"{command} {quoted}", why) for command, why in _COMMANDS), class_="commands")


def _line(command: str, why: str) -> Html:
    button = tag("button", "Copy", type="button", class_="line-link", aria_label=f"Copy: {command}", data_copy=command)
    return tag("li", tag("span", why), tag("code", command), button)
