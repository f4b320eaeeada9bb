"""Another program's file beside what that program cannot be told."""

from __future__ import annotations

from lora_explorer.findings import Finding
from lora_explorer.report.yaml_tab.other_program import other_file, refused_pane, unsaid_pane

LEFT_OUT = Finding("sample_packing", "warning", "It has nothing for <b>sample_packing</b>.")


def test_a_text_is_shown_as_it_is_under_its_name() -> None:
    html = other_file("a: <b> # &\n", "trl.yml")
    assert "a: &lt;b&gt; # &amp;\n</pre>" in html
    assert 'data-name="trl.yml"' in html
    assert 'aria-label="Copy trl.yml"' in html


def test_what_a_program_cannot_be_told_is_counted_and_listed_without_a_line() -> None:
    html = unsaid_pane("TRL", [LEFT_OUT, Finding("seed", "note", "Else.")])
    assert "2 things that TRL cannot be told" in html
    assert html.index("sample_packing") < html.index("seed")
    assert "not in the file" not in html
    assert "<b>" not in html


def test_a_program_that_is_told_everything_is_said_to_be() -> None:
    assert "TRL is told all of it." in unsaid_pane("TRL", [])


def test_why_there_is_no_file_is_said() -> None:
    html = refused_pane("PEFT", [Finding("adapter", "error", "adapter is empty.")])
    assert "No file for PEFT" in html
    assert "adapter is empty." in html
