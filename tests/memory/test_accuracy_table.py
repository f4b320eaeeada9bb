"""The summary of predictions against measured runs, and its table in README.md."""

from __future__ import annotations

import pytest

from .published import FILES, accuracy_table, compared
from .published import accuracy as script

Comparison = accuracy_table.Comparison
COMPARED = {
    "cards": [
        Comparison("a", "peak_allocated", 99, 100, -1.0, -4.0),
        Comparison("b", "peak_allocated", 103, 100, 3.0, 2.0),
        Comparison("b", "process", 110, 100, 10.0),
        Comparison("c", "process", 150, 100, 50.0, comparable=False),
    ]
}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]


def readme_table() -> list[list[str]]:
    text = accuracy_table.README.read_text(encoding="utf-8")
    if accuracy_table.BEGIN not in text:
        pytest.skip("README.md has no place for the table yet")
    return cells(text.partition(accuracy_table.BEGIN)[2].partition(accuracy_table.END)[0])


def test_a_summary_has_the_mean_the_worst_and_the_worst_that_was_too_low() -> None:
    summary = accuracy_table.summarize(COMPARED["cards"])
    assert summary["peak_allocated"] == {
        "rows": 2, "mean_abs_percent": 2.0, "worst_abs_percent": 3.0, "worst_under_percent": 1.0,
    }  # fmt: skip
    assert summary["process"]["rows"] == 1
    assert summary["process"]["worst_under_percent"] == 0


def test_the_table_has_a_line_for_each_file_and_quantity_beside_the_peer() -> None:
    assert cells(accuracy_table.markdown(COMPARED)) == [
        ["`cards`", "peak allocated", "2", "2.00", "3.00", "1.00", "3.00", "4.00"],
        ["`cards`", "process", "1", "10.00", "10.00", "0.00", "–", "–"],
    ]


def test_the_table_replaces_what_is_between_its_markers_and_nothing_else() -> None:
    text = f"before\n{accuracy_table.BEGIN}\nold\n{accuracy_table.END}\nafter\n"
    table = accuracy_table.markdown(COMPARED)
    once = accuracy_table.updated(text, table)
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert cells(once) == cells(table)
    assert accuracy_table.updated(once, table) == once


def test_a_text_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(accuracy_table.TableMissing, match="no place for the table"):
        accuracy_table.updated("nothing here", "table")


def test_the_readme_has_every_quantity_of_the_shipped_runs() -> None:
    wanted = {
        (f"`{file}`", quantity.replace("_", " "), f"{figures['rows']:.0f}")
        for file in FILES
        for quantity, figures in accuracy_table.summarize(compared(file)).items()
    }
    assert wanted <= {tuple(line[:3]) for line in readme_table()}


def test_the_readme_says_what_the_script_finds() -> None:
    lines = {(line[0], line[1]): [float(figure) for figure in line[3:6]] for line in readme_table()}
    for file in FILES:
        for quantity, figures in accuracy_table.summarize(compared(file)).items():
            told = lines[f"`{file}`", quantity.replace("_", " ")]
            found = [figures[name] for name in ("mean_abs_percent", "worst_abs_percent", "worst_under_percent")]
            assert told == pytest.approx(found, abs=0.05)


def test_a_ratio_is_held_against_the_reference_of_its_file() -> None:
    variant, reference = Comparison("v", "peak_reserved", 30, 33, 0.0), Comparison("r", "peak_reserved", 20, 30, 0.0)
    ratio = script._ratio(variant, reference)
    assert (ratio.predicted, ratio.measured) == (1.5, 1.1)
    assert ratio.error_percent == pytest.approx(100 * (1.5 / 1.1 - 1))
