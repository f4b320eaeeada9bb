"""Comparisons of predictions with measured runs, as summaries and tables, and the table in README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- accuracy: written by benchmarks/accuracy.py --update-readme -->"
END = "<!-- accuracy: end -->"

HEAD = "| measured runs | quantity | rows | mean | worst | worst under | peer: mean | peer: worst |"
RULE = "|---|---|--:|--:|--:|--:|--:|--:|"


class TableMissing(Exception):
    """README.md has no place for the table."""


@dataclass(frozen=True)
class Comparison:
    """One quantity of one row, or of one row relative to another.

    error_percent: of the measurement, negative when too low. comparable: False where what was measured depends on
    something that is not recorded, so that only the ratio to a sibling tells.
    """

    id: str
    quantity: str
    predicted: float
    measured: float
    error_percent: float
    peer_error_percent: float | None = None
    comparable: bool = True


def summarize(compared: Sequence[Comparison]) -> dict[str, dict[str, float]]:
    """For each quantity: rows, mean and worst error, and the worst prediction that was too low."""
    counted = [each for each in compared if each.comparable]
    quantities = dict.fromkeys(each.quantity for each in counted)
    return {name: _summary([each.error_percent for each in counted if each.quantity == name]) for name in quantities}


def _summary(errors: Sequence[float]) -> dict[str, float]:
    return {
        "rows": len(errors),
        "mean_abs_percent": mean(abs(error) for error in errors),
        "worst_abs_percent": max(abs(error) for error in errors),
        "worst_under_percent": max(0.0, -min(errors)),
    }


def markdown(compared: Mapping[str, Sequence[Comparison]]) -> str:
    """Errors in percent, one line for each file and quantity, beside the peer's on the same rows where it has any."""
    lines = [HEAD, RULE]
    for name, comparisons in compared.items():
        for quantity, figures in summarize(comparisons).items():
            peer = [
                each.peer_error_percent
                for each in comparisons
                if each.quantity == quantity and each.peer_error_percent is not None
            ]
            lines.append(_line(name, quantity, figures, _summary(peer) if peer else None))
    return "\n".join(lines)


def _line(name: str, quantity: str, figures: Mapping[str, float], peer: Mapping[str, float] | None) -> str:
    cells = [f"`{name}`", quantity.replace("_", " "), f"{figures['rows']:.0f}"]
    cells += [f"{figures[key]:.2f}" for key in ("mean_abs_percent", "worst_abs_percent", "worst_under_percent")]
    cells += [f"{peer[key]:.2f}" if peer else "–" for key in ("mean_abs_percent", "worst_abs_percent")]
    return f"| {' | '.join(cells)} |"


def updated(text: str, table: str) -> str:
    """The text with the table between its markers. Raises TableMissing."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise TableMissing(f"README.md has no place for the table: {BEGIN} … {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", text)


def print_tables(compared: Sequence[Comparison]) -> None:
    """Every comparison, then the summary."""
    for each in compared:
        digits = ",.4f" if each.quantity.endswith("relative") else ",.0f"
        peer = "" if each.peer_error_percent is None else f"{each.peer_error_percent:+9.2f} %"
        print(
            f"{each.id:90} {each.quantity:22} {each.predicted:15{digits}} {each.measured:15{digits}} "
            f"{each.error_percent:+8.2f} % {peer}{'' if each.comparable else '  not comparable, see the relative'}"
        )
    print(f"\n{'quantity':24}{'rows':>6}{'mean':>10}{'worst':>10}{'worst under':>14}")
    for name, figures in summarize(compared).items():
        print(
            f"{name:24}{figures['rows']:6.0f}{figures['mean_abs_percent']:9.2f} %{figures['worst_abs_percent']:8.2f} %"
            f"{figures['worst_under_percent']:12.2f} %"
        )
    if not all(each.comparable for each in compared):
        print(
            "\nThe longest batch of some runs is not recorded: they are predicted at the longest that their script "
            "allows.\nThe absolute figure is then an upper bound and stays out of the summary."
        )
