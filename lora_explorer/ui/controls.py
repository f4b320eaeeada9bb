"""One widget a setting, generated from the declarations alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import gradio as gr
from gradio.components import Component

from lora_explorer.settings import SETTINGS, Group, Setting
from lora_explorer.settings.declaration import ControlKind
from lora_explorer.ui.desk import tell
from lora_explorer.ui.draft import Shelf
from lora_explorer.ui.number_field import NOT_SET, number_field

Choices = Mapping[str, Sequence[tuple[str, str]]]
"""(label, value) pairs by field name, for settings whose choices are not known when they are declared."""

Controls = Mapping[str, Component]
"""The widgets by the field name of their setting."""

Beneath = Mapping[str, Callable[[], None]]


def build_group(group: Group, shelf: Shelf, choices: Choices, beneath: Beneath) -> dict[str, Component]:
    """A section that opens and closes: the settings that matter first, the rest under *More*.

    beneath: builds what stands under the widget of a setting and is no setting itself.
    """
    settings = [setting for setting in SETTINGS.values() if setting.group is group]
    first, rest = [s for s in settings if not s.more], [s for s in settings if s.more]
    with gr.Accordion(group.value, open=True, elem_id=group_id(group), elem_classes="group"):
        controls = {}
        for setting in first:
            controls[setting.name] = build_control(setting, shelf, choices)
            beneath.get(setting.name, _nothing)()
        if rest:
            with gr.Accordion("More settings", open=False, elem_classes="more"):
                controls |= {setting.name: build_control(setting, shelf, choices) for setting in rest}
    return controls


def _nothing() -> None:
    return


def group_id(group: Group) -> str:
    return f"group-{group.name.lower().replace('_', '-')}"


def build_control(setting: Setting, shelf: Shelf, choices: Choices) -> Component:
    """The widget of one setting; its elem_id is the setting's Axolotl key. It tells the desk what it holds."""
    widget = _BUILDERS[setting.control.kind](setting, shelf[setting.name], choices.get(setting.name, ()))
    if not isinstance(widget, gr.HTML):  # A number field tells by itself.
        tell(setting.name, widget)
    return widget


def _common(setting: Setting) -> dict[str, Any]:
    return {
        "label": setting.label,
        "info": setting.help,
        "elem_id": setting.key,
        "elem_classes": ["setting", f"setting-{setting.control.kind}"],
    }


def _empty(setting: Setting) -> str:
    """What an empty field says: what then holds."""
    return NOT_SET if setting.default is None else f"{NOT_SET}: {setting.default:g}"


def _slider(setting: Setting, shown: Any, choices: object) -> Component:
    control = setting.control
    range_ = (control.minimum or 0.0, control.maximum or 100.0, control.step or 1.0)
    return number_field(setting.name, shown, range_, empty=_empty(setting), **_common(setting))


def _number(setting: Setting, shown: Any, choices: object) -> Component:
    return number_field(setting.name, shown, empty=_empty(setting), **_common(setting))


def _text(setting: Setting, shown: Any, choices: object) -> Component:
    return gr.Textbox(shown, placeholder=setting.control.placeholder or NOT_SET, max_lines=1, **_common(setting))


def _checkbox(setting: Setting, shown: Any, choices: object) -> Component:
    return gr.Checkbox(shown, **_common(setting))


def _choice(setting: Setting, shown: Any, choices: Sequence[tuple[str, str]]) -> Component:
    offered = [*choices, *((choice, choice) for choice in setting.control.choices)]
    if setting.default is None and not choices:
        offered.insert(0, (NOT_SET, ""))
    # An imported value that is not among the choices must show and survive.
    return gr.Dropdown(cast("Any", offered), value=shown, allow_custom_value=True, **_common(setting))


def _names(setting: Setting, shown: Any, choices: Sequence[tuple[str, str]]) -> Component:
    offered = [*choices, *((choice, choice) for choice in setting.control.choices)]
    return gr.Dropdown(cast("Any", offered), value=shown, multiselect=True, allow_custom_value=True, **_common(setting))


TELL_WHAT_IS_WRITTEN: Collection[ControlKind] = ("text", "mapping", "names")
"""Kinds of widgets that tell the desk also what the server has written into them, as `tell` says."""

_BUILDERS: Mapping[ControlKind, Callable[[Setting, Any, Any], Component]] = {
    "slider": _slider,
    "number": _number,
    "text": _text,
    "mapping": _text,
    "checkbox": _checkbox,
    "choice": _choice,
    "names": _names,
}
