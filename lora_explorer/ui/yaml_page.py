"""The tab YAML, wired: what happens when a text is edited, a file opened or taken away, and a fix pressed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lora_explorer.ui import opening
from lora_explorer.ui.controls import Controls
from lora_explorer.ui.layout import script_of
from lora_explorer.ui.yaml_answers import YamlAnswers
from lora_explorer.ui.yaml_layout import YamlTab

OPENED_JS = '() => { setTimeout(() => document.dispatchEvent(new CustomEvent("yaml-opened")), 60); }'
# Only the browser knows what the file was called.
_NAMED_JS = "(upload, draft, file) => [upload, draft, { ...file, name: upload?.orig_name ?? null }]"


def wire_yaml(yaml: YamlTab, answers: YamlAnswers, desk: gr.HTML, controls: Controls, live: dict[str, Any]) -> None:
    """A text that was opened changes the desk, and the desk asks. live: how it asks."""
    changed = [yaml.editor, desk, *controls.values()]
    yaml.editor.input(opening.open_text, [yaml.editor, desk], changed[1:], **live)
    opened = [yaml.said, yaml.file, *changed]
    uploaded = yaml.upload.upload(opening.open_upload, [yaml.upload, desk, yaml.file], opened, js=_NAMED_JS, **live)
    uploaded.then(None, js=opening.FORGET_FILES_JS)
    desk.write(answers.write, desk, yaml.editor, **live)
    desk.read(answers.read, desk, yaml.reading, **live)
    desk.compare(answers.compare, [desk, yaml.view, yaml.file], yaml.reading, **live)
    yaml.programs.offer(answers.programs, None, yaml.programs, **live)
    desk.convert(answers.convert, [desk, yaml.programs], [yaml.other, yaml.reading], **live)
    desk.mend(answers.mend, desk, changed, **live)
    yaml.copy.click(
        None, yaml.editor, None, js=f"async (text) => {{ {script_of('clipboard.js')} {script_of('copy.js')} }}"
    )
    yaml.download.click(None, [yaml.editor, yaml.file], None, js=script_of("download.js"))
