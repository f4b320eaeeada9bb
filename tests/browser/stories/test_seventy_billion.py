"""Somebody who adapts a model of 70 billion parameters on two cards of 80 GB: which rank, where, a copy on each?"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.stories.visitor import ANSWERED_MS, TRACED_MS, Arrive, Visitor
from lora_explorer import estimate_memory, find_base_model, find_card, import_axolotl
from lora_explorer.memory.plan.parallel_plan import plan_parallel

pytestmark = pytest.mark.browser

CARD = "A100 80GB SXM"
FSDP = {"fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def figure(visitor: Visitor, name: str) -> list[int]:
    """The exact values of the pinned columns, in order; what is on screen stands before them."""
    cells = visitor.page.locator(f"tr[data-figure='{name}'] td:not(.now)").all()
    return [int(cell.get_attribute("data-value") or -1) for cell in cells]


def test_rank_and_targets_of_70_billion_on_two_cards(arrive: Arrive) -> None:
    visitor = arrive(1440, "dark")
    page = visitor.page
    count = page.locator("#trainable-params")

    # A model that does not exist has its sentence; the one that does is chosen by its name.
    before = visitor.value("trainable-params")
    visitor.choose_base_model("llama 70 billion")
    visitor.is_told("base_model", "llama 70 billion")
    assert visitor.value("trainable-params") == before
    visitor.choose_base_model("Llama 3.1 70B")
    expect(count).not_to_have_attribute("data-value", str(before), timeout=ANSWERED_MS)
    visitor.choose_card(CARD)
    expect(visitor.fits).to_have_attribute("data-verdict", "does not fit", timeout=TRACED_MS)
    expect(page.locator(".heat-row[data-row]")).to_have_count(len(LINEAR), timeout=ANSWERED_MS)

    # Not in 16 bits on one card; the list of savings says what to do, and how much that is.
    quantize = page.locator("#savings li[data-setting=load_in_4bit] button")
    expect(quantize).to_be_visible(timeout=TRACED_MS)
    visitor.look("does-not-fit")
    visitor.weighed()
    visitor.saves_what_it_says(quantize)
    expect(visitor.fits).to_have_attribute("data-verdict", "fits")

    # Three candidates: a low rank everywhere, four times as much, and that without the feed-forward layers.
    visitor.type_number("lora_r", "100000000")
    visitor.is_told("lora_r", "at most")
    visitor.type_number("lora_r", "16")
    low = visitor.value("trainable-params") // 2
    expect(count).to_have_attribute("data-value", str(low), timeout=ANSWERED_MS)
    visitor.pin()
    visitor.type_number("lora_r", "64")
    expect(count).to_have_attribute("data-value", str(4 * low), timeout=ANSWERED_MS)
    visitor.pin()
    for number, kind in enumerate(("gate_proj", "up_proj", "down_proj"), start=1):
        page.get_by_role("button", name=kind, exact=True).click()
        expect(page.locator(".heat-row.untrained")).to_have_count(number, timeout=ANSWERED_MS)
    attention = visitor.value("trainable-params")
    visitor.pin()
    visitor.look("attention-only")

    # Side by side, each with what the library says of it; a reload in the middle keeps all three.
    visitor.open_tab("Compare")
    expect(page.locator("tr[data-figure='peak-memory']")).not_to_contain_text("…", timeout=TRACED_MS)
    visitor.look("side-by-side")
    visitor.reload()
    visitor.open_tab("Compare")
    expect(page.locator(".pin-name")).to_have_count(3, timeout=ANSWERED_MS)
    assert figure(visitor, "trainable-params") == [low, 4 * low, attention]
    expect(page.locator("tr[data-figure='peak-memory']")).not_to_contain_text("…", timeout=TRACED_MS)
    peaks = figure(visitor, "peak-memory")
    assert peaks[1] == max(peaks)

    # The second it is: it becomes the current one, and is taken away.
    page.locator("[data-pin='1'] .pin-use").click()
    expect(count).to_have_attribute("data-value", str(4 * low), timeout=ANSWERED_MS)
    expect(visitor.peak).to_have_attribute("data-value", str(peaks[1]), timeout=TRACED_MS)
    taken = visitor.takes_away()
    assert (taken.values["lora_r"], taken.values["lora_target_linear"]) == (64, True)
    verdict = taken.figures.fit_on(CARD)
    assert verdict
    assert verdict.fits

    # On two cards with a copy each, the buckets of gradients come on top; that fits too. Sharing the model needs less.
    recipe = import_axolotl(taken.yaml).recipe
    options = {"card": find_card(CARD), "every_card": False}
    plans = plan_parallel(2, taken.values), plan_parallel(2, FSDP)
    copies, shared = (
        estimate_memory(recipe, find_base_model(recipe.base_model), parallel=plan, **options) for plan in plans
    )
    visitor.open_tab("Fit")
    rows = page.locator("#fit-several tbody tr")
    expect(rows).to_have_count(4, timeout=TRACED_MS)
    visitor.look("two-cards")
    for row, of_two in zip(rows.all(), (copies, shared), strict=False):
        (fit,) = of_two.fits
        expect(row.locator(".number")).to_have_attribute("data-value", str(fit.process_bytes))
        expect(row).to_contain_text(fit.verdict)
    assert shared.process_bytes < peaks[1] < copies.process_bytes
