"""Hold speed estimates against public figures, each estimated without the figures it is held against.

    python benchmarks/throughput.py [--json]

presets/throughput.yml has the figures with their sources. A card's efficiency is the middle of its figures; a figure
of a card is estimated from those of other models on it, and once more as if the card had none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median

from throughput_rows import Figure, UnknownFigure, figures

from lora_explorer.memory import find_card
from lora_explorer.speed.expectation import nearest_figures
from lora_explorer.speed.measured_error import SpeedError

# Where more than this share of the measured time is accounted for by launches, a figure says nothing of the card.
MOSTLY_HOST = 0.7
# Where the data sheet accounts for less than this share, the card waited for the host.
MOSTLY_WAITING = 0.5


@dataclass(frozen=True)
class Efficiency:
    """The share of its data sheet that a card reached in a figure, as the Trainer would on it.

    of_the_host: the card mostly waited, so that the share says nothing of it.
    """

    figure: Figure
    share: float
    of_the_host: bool


@dataclass(frozen=True)
class Estimated:
    """A figure beside its estimate. without: what was left out of the estimate, its model or its card."""

    id: str
    without: str
    measured_seconds: float
    estimated_seconds: float

    @property
    def error_percent(self) -> float:
        return 100 * (self.estimated_seconds / self.measured_seconds - 1)

    @property
    def ratio(self) -> float:
        """Real time over estimated time."""
        return self.measured_seconds / self.estimated_seconds


@dataclass(frozen=True)
class Calibration:
    """What the figures say. efficiencies: by card. host_seconds: to launch a kernel."""

    efficiencies: dict[str, float]
    host_seconds: float
    known_cards: SpeedError
    other_cards: SpeedError
    estimated: tuple[Estimated, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        found = calibrate(list(figures()))
    except UnknownFigure as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(found))) if options.json else _print(found)
    return 0


def calibrate(public: Sequence[Figure]) -> Calibration:
    """Efficiencies, and how far estimates are off that leave out what they are held against."""
    host_seconds = _host_seconds(public)
    found = _efficiencies(public, host_seconds)
    estimated = (*_without_models(found), *_without_cards(found))
    return Calibration(
        {gpu: round(share, 2) for gpu, share in _by_card(found).items()},
        round(host_seconds, 7),
        _error(each for each in estimated if each.without == "model"),
        _error(each for each in estimated if each.without == "card"),
        estimated,
    )


def _host_seconds(public: Iterable[Figure], otherwise: float = 0.0) -> float:
    """otherwise: where no card waited for its host."""
    waiting = [f for f in public if not f.compared_with and f.share < MOSTLY_WAITING]
    return median(figure.measured_seconds / figure.kernels for figure in waiting) if waiting else otherwise


def _efficiencies(public: Sequence[Figure], host_seconds: float) -> list[Efficiency]:
    """One for each figure; where one stands beside another card's, it is as much more or less than that card's."""
    alone = [
        Efficiency(f, f.share, host_seconds * f.kernels > MOSTLY_HOST * f.measured_seconds)
        for f in public
        if not f.compared_with
    ]
    known = _by_card(alone)
    beside = {(f.kind, f.gpu): f.share for f in public if f.gpu == f.compared_with}
    compared = [
        Efficiency(f, known[f.compared_with] * f.share / beside[f.kind, f.compared_with], of_the_host=False)
        for f in public
        if f.compared_with not in ("", f.gpu)
    ]
    return [*alone, *compared]


def _by_card(found: Iterable[Efficiency]) -> dict[str, float]:
    shares: dict[str, list[float]] = defaultdict(list)
    for each in found:
        if not each.of_the_host:
            shares[each.figure.gpu].append(each.share)
    return {gpu: median(values) for gpu, values in shares.items()}


def _without_models(found: Sequence[Efficiency]) -> Iterator[Estimated]:
    """Each figure from those of other models on its card, where there are any."""
    of_all = _host_seconds(each.figure for each in found)
    for each in found:
        gpu, model = each.figure.gpu, each.figure.model
        others = [other for other in found if (other.figure.gpu, other.figure.model) != (gpu, model)]
        known = _by_card(others)
        if gpu in known:
            host_seconds = _host_seconds((other.figure for other in others), of_all)
            yield _estimated(each, known[gpu], host_seconds, "model")


def _without_cards(found: Sequence[Efficiency]) -> Iterator[Estimated]:
    """Each figure as if there were none of its card, nor any that is known by it."""
    of_all = _host_seconds(each.figure for each in found)
    for each in found:
        gpu = each.figure.gpu
        others = [other for other in found if gpu not in (other.figure.gpu, other.figure.compared_with)]
        nearest = nearest_figures(find_card(gpu), _by_card(others))
        host_seconds = _host_seconds((other.figure for other in others), of_all)
        yield _estimated(each, median(nearest.values()), host_seconds, "card")


def _estimated(each: Efficiency, efficiency: float, host_seconds: float, without: str) -> Estimated:
    figure = each.figure
    if figure.compared_with:
        # As much slower as that software was on the card beside it.
        seconds = figure.measured_seconds * each.share / efficiency
    else:
        seconds = max(figure.sheet_seconds / efficiency, host_seconds * figure.kernels)
    return Estimated(figure.id, without, figure.measured_seconds, seconds)


def _error(estimated: Iterable[Estimated]) -> SpeedError:
    compared = list(estimated)
    errors = [abs(each.error_percent) for each in compared]
    return SpeedError(
        figures=len(compared),
        cards=len({each.id.partition(",")[0] for each in compared}),
        mean_percent=round(mean(errors), 1),
        worst_percent=round(max(errors), 1),
        shortest=round(min(each.ratio for each in compared), 2),
        longest=round(max(each.ratio for each in compared), 2),
    )


def _print(found: Calibration) -> None:
    print(f"{'figure':<66} {'left out':>8} {'measured':>9} {'estimated':>9} {'error':>7}")
    for each in found.estimated:
        print(
            f"{each.id:<66} {each.without:>8} {each.measured_seconds:>8.3f}s {each.estimated_seconds:>8.3f}s "
            f"{each.error_percent:>+6.1f}%"
        )
    print()
    for gpu, share in found.efficiencies.items():
        print(f"{gpu:<30} {share:.2f} of the data sheet")
    print(f"{1e6 * found.host_seconds:.1f} microseconds of the host for a kernel")
    print(f"other models on a known card: {found.known_cards}")
    print(f"cards without figures:        {found.other_cards}")


if __name__ == "__main__":
    raise SystemExit(main())
