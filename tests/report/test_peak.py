"""The way to the peak, drawn and told: to scale, in order, and with the peak where it is."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lora_explorer.memory import find_card
from lora_explorer.memory.result import CardFit, Moment
from lora_explorer.report import headline, moments, step_curve, verdicts, words
from report.estimates import GIB, LAYERS, STRETCHES, estimate, fit

HEIGHT, WIDTH = 100.0, 1000.0


def outline(picture: str, part: str) -> list[tuple[float, float]]:
    """Corners of the area of a part."""
    found = re.search(rf'<path d="M([^"z]*)z" class="part part-{part}"', picture)
    assert found
    return [(float(x), float(y)) for x, y in (corner.split() for corner in found[1].split("L"))]


def scale_of(picture: str) -> tuple[int, int]:
    """What the lower and the upper edge stand for, in bytes."""
    found = re.search(r'data-floor="(\d+)" data-top="(\d+)"', picture)
    assert found
    return int(found[1]), int(found[2])


def test_an_area_is_as_high_as_its_part_of_the_peak_and_nothing_leaves_the_picture() -> None:
    picture = step_curve.step_curve(estimate())
    floor_bytes, top_bytes = scale_of(picture)
    levels = [y for _, y in outline(picture, "logits-and-loss")]
    high, low = min(levels), sorted(set(levels))[1]
    assert low - high == pytest.approx(HEIGHT * 3 * GIB / (top_bytes - floor_bytes), abs=0.02)
    assert HEIGHT * (1 - (19 * GIB - floor_bytes) / (top_bytes - floor_bytes)) == pytest.approx(high, abs=0.02)
    assert all(0 <= y <= HEIGHT for part in ("base-weights", "adapter") for _, y in outline(picture, part))


def test_the_picture_begins_below_what_is_always_there_and_says_where() -> None:
    picture = step_curve.step_curve(estimate())
    floor_bytes, top_bytes = scale_of(picture)
    assert 0 < floor_bytes < 16 * GIB < 19 * GIB < top_bytes
    assert f"from {words.gib(floor_bytes)} up" in picture


def test_heights_of_the_picture_are_round_and_stand_where_they_belong() -> None:
    picture = step_curve.step_curve(estimate())
    floor_bytes, top_bytes = scale_of(picture)
    marks = re.findall(r'<span style="top:([\d.]+)%">([\d.]+)</span>', picture)
    assert len(marks) > 1
    for place, height in marks:
        share = (top_bytes - float(height) * GIB) / (top_bytes - floor_bytes)
        assert float(place) == pytest.approx(100 * share, abs=0.01)


def test_areas_lie_on_each_other_and_run_over_the_whole_width() -> None:
    picture = step_curve.step_curve(estimate())
    adapter, logits = outline(picture, "adapter"), outline(picture, "logits-and-loss")
    assert {x for x, _ in adapter} >= {0.0, WIDTH}
    assert min(y for _, y in adapter) == max(y for _, y in logits)


def test_the_peak_is_marked_within_its_stretch() -> None:
    picture = step_curve.step_curve(estimate())
    marked = re.search(r'class="peak-line" style="left:([\d.]+)%"', picture)
    assert marked
    loss = outline(picture, "logits-and-loss")
    left, right = (pick(x for x, y in loss if y == min(y for _, y in loss)) for pick in (min, max))
    assert left <= float(marked[1]) * WIDTH / 100 <= right


def test_the_phases_are_named_once_in_order_and_fill_the_axis() -> None:
    picture = step_curve.step_curve(estimate())
    axis = re.findall(r'<span style="width:([\d.]+)%" class="curve-\w+">(\w+)<', picture)
    assert [name for _, name in axis] == ["loading", "forward", "backward", "optimizer"]
    assert sum(float(width) for width, _ in axis) == pytest.approx(100, abs=0.1)


def test_a_model_of_126_layers_is_drawn_as_small_as_one_of_four() -> None:
    few = estimate()
    wide = Moment("forward", "layer", 0, 126, 2)
    many = replace(few, curve=(*few.curve[:2], *[replace(few.curve[2], moment=wide)] * 126, *few.curve[6:]))
    assert len(step_curve.step_curve(many)) < 1.1 * len(step_curve.step_curve(few))


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        (Moment("load", "embedding", None, 32, 0), "loading"),
        (Moment("optimizer", "head", None, 32, 2), "optimizer step"),
        (Moment("optimizer", "head", None, 32, 1), "optimizer step of the first step"),
        (Moment("forward", "embedding", None, 32, 2), "forward pass, embedding"),
        (Moment("backward", "head", None, 32, 2), "backward pass, output head and loss"),
        (
            Moment("backward", "layer", 30, 32, 2, "under way"),
            "backward pass, layer 31 of 32, while its activations are recomputed",
        ),
        (Moment("backward", "layer", 0, 32, 2, "made"), "backward pass, layer 1 of 32, on its recomputed activations"),
    ],
)
def test_a_moment_is_told_in_words(moment: Moment, told: str) -> None:
    assert moments.peak_in_words(replace(estimate(), peak=moment)) == told


def test_the_story_names_the_largest_pieces_and_where_they_come_from() -> None:
    story = step_curve.peak_story(estimate())
    assert "3 × 1 GiB logits and loss" in story
    assert "forward · loss" in story
    assert "backward pass, output head and loss" in story


@pytest.mark.parametrize("reserved_gib", [20, 24, 40])
def test_a_verdict_s_sentence_says_what_is_left_or_missing(reserved_gib: int) -> None:
    sentence = verdicts.sentence_of(fit(reserved_gib * GIB))
    assert f"{abs(24 - reserved_gib)}.0 GiB" in sentence
    assert ("layer 3 of 4" in sentence) is (reserved_gib > 24)


def test_a_run_that_gives_cached_memory_back_says_so() -> None:
    assert "cached memory" in verdicts.sentence_of(replace(fit(24 * GIB), gives_cache_back=True))


def test_every_stretch_of_a_step_has_its_place_in_the_curve() -> None:
    assert len(STRETCHES) == 2 * LAYERS + 6
    assert all(moments.stretch_in_words(moment) for moment in STRETCHES)


def test_on_a_card_that_gives_cached_memory_back_the_peak_is_what_it_holds_there() -> None:
    full = replace(fit(24 * GIB), headroom_bytes=0, gives_cache_back=True, process_bytes=24 * GIB)
    made = replace(estimate(reserved_bytes=25 * GIB), fits=(full,))
    tiles = headline.memory_tiles(made, find_card("RTX 4090"))
    assert f'data-value="{24 * GIB}"' in tiles
    assert "by giving its cache back" in tiles
    assert "to spare" not in tiles


def test_a_card_that_cannot_run_it_says_why_and_shows_no_tick() -> None:
    reason = "It needs another card."
    refused = CardFit("T4", 16 * GIB, False, -GIB, "does not run", reason=reason)
    assert reason in verdicts.sentence_of(refused)
    assert verdicts.mark(refused) != verdicts.mark(fit(10 * GIB))


def test_the_accuracy_sentence_says_on_which_cards_the_runs_were() -> None:
    assert "all on T4" in verdicts.accuracy_sentence()
    assert "None of them ran on RTX 4090" in verdicts.accuracy_sentence("RTX 4090")
    assert "None of them" not in verdicts.accuracy_sentence("T4")
