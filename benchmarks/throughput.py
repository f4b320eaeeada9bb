"""Hold speed estimates against public figures, each estimated without the figures it is held against.

    python benchmarks/throughput.py [FILE.jsonl...] [--json]

presets/throughput.yml has the figures with their sources. A card's efficiency is the middle of its figures; a figure
of a card is estimated from those of other models on it, and once more as if the card had none. The runs of a FILE, as
benchmarks/accuracy.py reads it, are estimated in the same two ways; one without a throughput of one GPU is named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from measured_rows import UnknownRow
from throughput_rows import Figure, UnknownFigure, figures, measured_figures

from lora_explorer.memory import find_card
from lora_explorer.speed.expectation import nearest_figures
from lora_explorer.speed.measured_error import SpeedError

# Where more than this share of the measured time is accounted for by launches, a figure says nothing of the card.
MOSTLY_HOST = 0.7
# Where the data sheet accounts for less than this share, the card waited for the host.
MOSTLY_WAITING = 0.5


class Estimated(NamedTuple):
    """A figure beside its estimate. without: what was left out of the estimate, its model or its card."""

    id: str
    gpu: str
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


class Way(NamedTuple):
    """What an estimate is made without.

    group: of a figure; it and all of its group are left out. rest: what is left of figures then. efficiency: of a card,
    by those of the cards that are left; None where they do not tell it.
    """

    group: Callable[[Figure], Hashable]
    rest: Callable[[Figure, Sequence[Figure]], list[Figure]]
    efficiency: Callable[[str, Mapping[str, float]], float | None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="measured runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        public = list(figures())
        measured, left_out = measured_figures(options.files)
    except (UnknownFigure, UnknownRow) as error:
        print(error, file=sys.stderr)
        return 1
    for row in left_out:
        print(f"{row}: no throughput of one GPU", file=sys.stderr)
    found = calibrate(public)
    beside = [each for without in WAYS for each in estimates(measured, public, without)]
    if options.json:
        print(json.dumps(asdict(found) | {"measured": [each._asdict() for each in beside]}))
    else:
        _print(found, beside)
    return 0


def calibrate(public: Sequence[Figure]) -> Calibration:
    """Efficiencies, and how far estimates are off that leave out what they are held against."""
    host_seconds = _host_seconds(public)
    estimated = {without: list(estimates(public, public, without)) for without in WAYS}
    errors = {without: _error(found, _held(public, without)) for without, found in estimated.items()}
    return Calibration(
        {gpu: round(share, 2) for gpu, share in _by_card(public, host_seconds).items()},
        round(host_seconds, 7),
        errors["model"],
        errors["card"],
        (*estimated["model"], *estimated["card"]),
    )


def estimates(asked: Iterable[Figure], public: Sequence[Figure], without: str) -> Iterator[Estimated]:
    """Every asked figure that has an estimate, each made from what is left of the public ones."""
    way = WAYS[without]
    for figure in asked:
        if figure.is_reference:
            continue
        rest = way.rest(figure, public)
        host_seconds = _host_seconds(rest, _host_seconds(public))
        efficiency = way.efficiency(figure.gpu, _by_card(rest, host_seconds))
        if efficiency is not None:
            seconds = _seconds(figure, rest, efficiency, host_seconds)
            yield Estimated(figure.id, figure.gpu, without, figure.measured_seconds, seconds)


def _host_seconds(public: Iterable[Figure], otherwise: float = 0.0) -> float:
    """otherwise: where no card waited for its host."""
    waiting = [f for f in public if not f.compared_with and f.share < MOSTLY_WAITING]
    return median(figure.measured_seconds / figure.kernels for figure in waiting) if waiting else otherwise


def _by_card(public: Sequence[Figure], host_seconds: float) -> dict[str, float]:
    """The middle share of the data sheet that each card reached, leaving out where it mostly waited for the host.

    What stands beside another card's figure is as much more or less than that card is known by.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for figure in public:
        if not figure.compared_with and host_seconds * figure.kernels <= MOSTLY_HOST * figure.measured_seconds:
            shares[figure.gpu].append(figure.share)
    alone = {gpu: median(values) for gpu, values in shares.items()}
    for figure in public:
        if figure.compared_with and not figure.is_reference:
            shares[figure.gpu].append(figure.share * _slower(figure, public, alone))
    return {gpu: median(values) for gpu, values in shares.items()}


def _slower(figure: Figure, public: Iterable[Figure], known: Mapping[str, float]) -> float:
    """How much more of the data sheet the Trainer reaches than the software of this figure, on the card beside it."""
    beside = next(f for f in public if f.is_reference and (f.kind, f.gpu) == (figure.kind, figure.compared_with))
    return known[figure.compared_with] / beside.share


def _seconds(figure: Figure, rest: Sequence[Figure], efficiency: float, host_seconds: float) -> float:
    seconds = figure.sheet_seconds / efficiency
    if not figure.compared_with:
        return max(seconds, host_seconds * figure.kernels)
    alone = _by_card([f for f in rest if not f.compared_with], host_seconds)
    return seconds * _slower(figure, rest, alone)


def _model_on_card(figure: Figure) -> Hashable:
    return figure.gpu, figure.model


def _without_model(figure: Figure, public: Sequence[Figure]) -> list[Figure]:
    """All but those of its model on its card; what its software did on the card beside it says nothing of that."""
    return [f for f in public if f.is_reference or _model_on_card(f) != _model_on_card(figure)]


def _without_card(figure: Figure, public: Sequence[Figure]) -> list[Figure]:
    """As if there were no figures of its card, nor any that are known by it."""
    return [f for f in public if figure.gpu not in (f.gpu, f.compared_with)]


def _of_nearest(gpu: str, known: Mapping[str, float]) -> float:
    return median(nearest_figures(find_card(gpu), known).values())


WAYS = {
    "model": Way(_model_on_card, _without_model, lambda gpu, known: known.get(gpu)),
    "card": Way(lambda figure: figure.gpu, _without_card, _of_nearest),
}


def _held(public: Sequence[Figure], without: str) -> int:
    """How many figures lie in a range that is itself made without any figure of their group."""
    groups: dict[Hashable, list[Figure]] = defaultdict(list)
    for figure in public:
        groups[WAYS[without].group(figure)].append(figure)
    held = 0
    for group in groups.values():
        rest = WAYS[without].rest(group[0], public)
        others = [each.ratio for each in estimates(rest, rest, without)]
        found = estimates(group, public, without)
        held += sum(min(others) <= each.ratio <= max(others) for each in found)
    return held


def _error(estimated: Sequence[Estimated], held: int) -> SpeedError:
    errors = [abs(each.error_percent) for each in estimated]
    ratios = [each.ratio for each in estimated]
    return SpeedError(
        figures=len(estimated),
        cards=len({each.gpu for each in estimated}),
        mean_percent=round(mean(errors), 1),
        worst_percent=round(max(errors), 1),
        shortest=round(min(ratios), 2),
        longest=round(max(ratios), 2),
        held=held,
    )


def _print(found: Calibration, measured: Sequence[Estimated]) -> None:
    print(f"{'figure':<66} {'left out':>8} {'measured':>9} {'estimated':>9} {'error':>7}")
    for each in (*found.estimated, *measured):
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
