"""The pictures of a sweep: every point once in each quantity, in its place, and lines where cards end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lora_explorer.exploration.axes import Axis, Choice
from lora_explorer.exploration.card_ends import where_cards_end
from lora_explorer.exploration.prediction import Prediction
from lora_explorer.exploration.sweep import Sweep, SweepPoint
from lora_explorer.memory import find_card
from lora_explorer.report import sweep_panel
from lora_explorer.report.sweep_curve import PLOT, is_curves
from lora_explorer.report.sweep_map import colours
from lora_explorer.report.sweep_quantities import BY_NAME, MEMORY, QUANTITIES, Scale

from .test_sweeps import CARD, CURVE, LARGER, MAP, MAP_POINTS, REFUSED, TARGETS, points_of, predicted, sweep_of

WIDE = Axis("lora_r", "Rank", tuple(Choice(str(r), str(r), {"lora_r": r}, float(r)) for r in (4, 8, 16, 64)))
CURVES = sweep_of(WIDE, TARGETS)


def parts_of(sweep: Sweep, points: Sequence[SweepPoint]) -> dict[str, str]:
    ends = where_cards_end(sweep, points) if len(points) == sweep.size else ()
    return dict(sweep_panel.sweep_parts(sweep, points, ends))


def plot_of(sweep: Sweep, answers: list[Prediction], quantity: str) -> ElementTree.Element:
    plot = ElementTree.fromstring(f"<g>{parts_of(sweep, points_of(sweep, answers))[PLOT]}</g>")
    found = plot.find(f"g[@class='of-{quantity}']")
    assert found is not None
    return found


def places(plot: ElementTree.Element) -> dict[str, tuple[float, float]]:
    dots = {
        point.attrib["data-at"]: point.find("circle[@class='dot']")
        for point in plot.iter("g")
        if "data-at" in point.attrib
    }
    return {
        at: (float(dot.attrib["cx"].rstrip("%")), float(dot.attrib["cy"]))
        for at, dot in dots.items()
        if dot is not None
    }


def lines_of_cards(plot: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in plot.iter("g") if each.attrib.get("class", "").startswith("card-end")]


def test_a_map_has_an_empty_cell_for_every_point_before_there_is_any() -> None:
    frame = sweep_panel.sweep_frame(MAP)
    at = re.findall(r'data-part="(\d+,\d+)"', frame)
    assert sorted(at) == ["0,0", "0,1", "1,0", "1,1", "2,0", "2,1"]
    assert frame.count("data-empty") == 6
    assert "&lt;MLP &amp; co&gt;" in frame
    assert "Rank (lora_r)" in frame


def test_a_cell_has_a_figure_for_each_quantity_and_says_what_does_not_fit() -> None:
    parts = parts_of(MAP, MAP_POINTS)
    assert [re.search(rf'of-{each.name} mid"[^>]*>([^<]*)<', parts["1,1"])[1] for each in QUANTITIES] == [  # type: ignore[index]
        "25.0", "25 M", "3,750"
    ]  # fmt: skip
    assert 'class="over"' in parts["1,1"]
    assert 'class="held"' in parts["0,0"]
    assert 'class="refused"' in parts["2,0"]
    assert ">×<" in parts["2,0"]
    assert "--memory" not in parts["2,0"]


def test_the_colours_of_a_map_span_all_that_there_is_and_no_more() -> None:
    spans = {name: float(value) for name, value in colours(MAP_POINTS).items()}
    cells = [re.search(r"--memory:([\d.]+)", cell) for cell in parts_of(MAP, MAP_POINTS).values()]
    heights = [float(found[1]) for found in cells if found]
    assert min(heights) == pytest.approx(spans["--low-memory"])
    assert max(heights) == pytest.approx(spans["--low-memory"] + spans["--span-memory"])
    assert all(float(value) or name.startswith("--low") for name, value in colours([]).items())


def steps_of(sweep: Sweep, answers: list[Prediction]) -> list[tuple[str, ...]]:
    """Of the first card that has any."""
    group = ElementTree.fromstring(f"<g>{parts_of(sweep, points_of(sweep, answers))['ends']}</g>")
    return [tuple(line.attrib[end] for end in ("x1", "y1", "x2", "y2")) for line in group.findall("g")[0]]


def test_steps_lie_between_cells_that_fit_and_neighbours_that_do_not() -> None:
    # Attention holds ranks of 4 and 8, the other row only 4; what is refused is neither.
    assert steps_of(MAP, [point.prediction for point in MAP_POINTS]) == [
        ("33.333%", "32", "33.333%", "64"),
        ("33.333%", "32", "66.667%", "32"),
    ]


def test_a_value_between_others_that_does_not_fit_is_fenced_in() -> None:
    answers = [predicted(gib) for gib in (20, 20, 30, 20, 20, 20)]
    assert steps_of(MAP, answers) == [
        ("33.333%", "0", "33.333%", "32"),
        ("66.667%", "0", "66.667%", "32"),
        ("33.333%", "32", "66.667%", "32"),
    ]


def test_cards_with_the_same_line_have_the_same_sign_before_their_sentence() -> None:
    like = find_card("RTX 3090")
    sweep = replace(MAP, cards=(CARD, LARGER, like))
    both = [
        replace(found, fits=(*found.fits, replace(found.fits[0], gpu=like.name)))
        for found in map(predicted, (20, 21, 23, 25, 30, 31))
    ]
    points = points_of(sweep, both)
    ends = where_cards_end(sweep, points)
    assert parts_of(sweep, points)["ends"].count("<g") == 1
    said = sweep_panel.closing_parts(sweep, points, ends, lambda point: point.changes)["card-ends"]
    assert [each.count("card-end end-0") for each in said.split("<li>")[1:]] == [1, 0, 1]


def test_the_scale_of_a_map_says_from_what_to_what_and_in_which_unit() -> None:
    scale = sweep_panel.sweep_scale(MAP, MAP_POINTS)["scale"]
    assert re.findall(r"<span>([^<]*)</span>", scale) == [
        "20.0", "31.0 GiB", "20 M", "31 M parameters", "3,000", "4,650 tokens/s, as expected"
    ]  # fmt: skip
    assert "–" in sweep_panel.sweep_scale(MAP, points_of(MAP, [REFUSED] * MAP.size))["scale"]
    assert sweep_panel.sweep_scale(CURVE, []) == {}


def test_a_line_of_a_card_comes_with_the_last_point_only() -> None:
    assert parts_of(MAP, MAP_POINTS)["ends"]
    assert parts_of(MAP, MAP_POINTS[:-1])["ends"] == ""


def test_numbers_for_a_few_choices_are_curves_and_all_else_over_two_settings_is_a_map() -> None:
    assert is_curves(CURVE)
    assert is_curves(sweep_of(TARGETS))
    assert is_curves(CURVES)
    assert is_curves(sweep_of(TARGETS, WIDE))
    assert not is_curves(MAP)
    many = replace(WIDE, choices=tuple(replace(WIDE.choices[0], number=float(n)) for n in range(1, 77)))
    assert not is_curves(sweep_of(many, TARGETS))
    assert is_curves(sweep_of(many))
    assert not is_curves(sweep_of(WIDE, replace(WIDE, name="other")))


def test_a_curve_goes_up_where_there_is_more_and_doubling_is_a_step_of_the_same_width() -> None:
    plot = plot_of(sweep_of(WIDE), [predicted(gib) for gib in (20, 21, 23, 30)], "memory")
    at = places(plot)
    assert list(at) == ["0", "1", "2", "3"]
    assert [x for x, _ in at.values()] == [0, 25, 50, 100]
    assert sorted((y for _, y in at.values()), reverse=True) == [y for _, y in at.values()]
    assert len(plot.findall("g[@class='sweep-line line-0']/line")) == 3


def test_a_point_without_a_figure_leaves_a_gap_and_no_mark() -> None:
    plot = plot_of(sweep_of(WIDE), [predicted(20), REFUSED, predicted(23), predicted(30)], "memory")
    assert list(places(plot)) == ["0", "2", "3"]


def test_memory_has_the_lines_of_cards_across_and_other_quantities_where_they_end() -> None:
    answers = [predicted(gib) for gib in (20, 21, 23, 30)]
    assert lines_of_cards(plot_of(sweep_of(WIDE), answers, "memory")) == [CARD.name]
    upright = lines_of_cards(plot_of(sweep_of(WIDE), answers, "speed"))
    assert upright == [CARD.name]
    assert LARGER.name not in upright


def test_curves_for_each_choice_tell_which_is_which() -> None:
    answers = [predicted(gib) for gib in (20, 21, 22, 23, 24, 25, 30, 31)]
    plot = plot_of(CURVES, answers, "parameters")
    assert sorted(places(plot)) == [f"{rank},{target}" for rank in range(4) for target in range(2)]
    frame = sweep_panel.sweep_frame(CURVES)
    assert "attention only" in frame
    assert "&lt;MLP &amp; co&gt;" in frame


def test_choices_without_an_order_are_bars_as_long_as_their_amount() -> None:
    plot = plot_of(sweep_of(TARGETS), [predicted(10), predicted(20)], "memory")
    widths = [float(bar.attrib["width"].rstrip("%")) for bar in plot.iter("rect") if bar.attrib["class"] == "dot"]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert "<MLP & co>" in "".join(plot.itertext())


@pytest.mark.parametrize("sweep", [CURVE, MAP, CURVES, sweep_of(TARGETS)], ids=["curve", "map", "curves", "bars"])
def test_a_picture_can_be_drawn_before_all_points_are_there_and_where_none_has_a_figure(sweep: Sweep) -> None:
    points = points_of(sweep, [predicted(20 + number) for number in range(sweep.size)])
    refused = points_of(sweep, [REFUSED] * sweep.size)
    for there in [points[:count] for count in range(sweep.size + 1)] + [refused]:
        for part in parts_of(sweep, there).values():
            ElementTree.fromstring(f"<g>{part}</g>")
        frame = sweep_panel.sweep_frame(sweep)
        assert set(parts_of(sweep, there)) <= set(re.findall(r'data-part="([^"]+)"', frame))


def test_what_is_told_of_a_point_are_its_values_figures_and_verdicts_or_what_is_wrong() -> None:
    told = sweep_panel.told(MAP, MAP_POINTS)
    assert told["1,1"] == (
        "lora_r 8, targets <MLP & co>",
        "25.00 GiB peak memory · 25,000,000 trainable parameters · 2,500 – 5,000 tokens/s on RTX 4090",
        "RTX 4090: does not fit; A100 80GB SXM: fits",
    )
    assert told["2,0"][1] == REFUSED.problem
    tight = replace(predicted(25), fits=(replace(predicted(20).fits[0], verdict="tight", gives_cache_back=True),))
    ((_, _, verdicts),) = sweep_panel.told(MAP, [replace(MAP_POINTS[0], prediction=tight)]).values()
    assert verdicts == "RTX 4090: tight, by giving its cache back"


def test_the_table_and_the_sentences_come_with_the_last_point() -> None:
    frame = sweep_panel.sweep_frame(MAP)
    assert sweep_panel.TABLE_LATER in frame
    assert 'class="chart sweep" data-name="sweep-lora_r-targets"' in frame
    closing = sweep_panel.closing_parts(MAP, MAP_POINTS, where_cards_end(MAP, MAP_POINTS), lambda point: point.changes)
    assert closing["table"].count("<tr") == 7
    assert closing["card-ends"].count("<li>") == 2


def test_amounts_far_apart_are_told_apart_by_factors() -> None:
    scale = Scale(1, 100, logarithmic=True)
    assert scale.share(10) == pytest.approx(0.5)
    assert Scale(0, 100).share(25) == 0.25
    assert Scale(5, 5).share(5) == 0.5
    assert (MEMORY.short(535.4), BY_NAME["speed"].short(12345), BY_NAME["parameters"].short(83_886_080)) == (
        "535", "12,300", "83.9 M"
    )  # fmt: skip
