"""Loading: what arrives, in which order, and what it leaves behind."""

from __future__ import annotations

from collections import Counter

import pytest

from lora_explorer.memory.plan.optimizers import StepEvents
from lora_explorer.memory.plan.step import Loading
from lora_explorer.memory.replay.loading import RACES, READERS, loading_events, races
from lora_explorer.memory.watching.trace import Category, Resident

KIB = 1024


def quantized(name: str, layer: int, arrives_bytes: int) -> list[Resident]:
    path = f"model.layers.{layer}.{name}.weight"
    return [
        Resident(arrives_bytes // 4, "base weights", layer, path, arrives_bytes, quantized=True),
        Resident(arrives_bytes // 32, "quantization state", layer, path),
    ]


def norm(layer: int) -> Resident:
    return Resident(16 * KIB, "base weights", layer, f"model.layers.{layer}.norm.weight", 8 * KIB)


RESIDENTS = [
    Resident(900 * KIB, "base weights", None, "model.embed_tokens.weight", 900 * KIB),
    *(
        part
        for layer in range(12)
        for part in (*quantized("up_proj", layer, 640 * KIB), *quantized("q_proj", layer, 256 * KIB), norm(layer))
    ),
    Resident(4 * KIB, "adapter", 0, "model.layers.0.q_proj.lora_A.weight"),
]


def alive_at_once(events: StepEvents, category: Category) -> int:
    """The most storages of a category that are alive at the same time."""
    alive = most = 0
    for number in events.events:
        if events.categories[max(number, ~number)] == category:
            alive += 1 if number >= 0 else -1
            most = max(most, alive)
    return most


@pytest.mark.parametrize("loading", ["raced", "placed", "moved"])
def test_every_storage_is_born_once_and_dies_at_most_once_after_that(loading: Loading) -> None:
    loaded = loading_events(RESIDENTS, loading, race=3)
    births = [number for number in loaded.events if number >= 0]
    deaths = [~number for number in loaded.events if number < 0]

    assert sorted(births) == list(range(len(loaded.sizes_bytes)))
    assert max(Counter(deaths).values()) == 1
    assert all(loaded.events.index(number) < loaded.events.index(~number) for number in deaths)


@pytest.mark.parametrize("loading", ["raced", "placed", "moved"])
def test_what_is_left_after_loading_is_what_the_model_holds(loading: Loading) -> None:
    loaded = loading_events(RESIDENTS, loading, race=3)
    dead = {~number for number in loaded.events if number < 0}
    left = Counter(size for number, size in enumerate(loaded.sizes_bytes) if number not in dead)

    assert left == Counter(resident.size_bytes for resident in RESIDENTS)


def test_in_order_one_tensor_at_a_time_waits_to_be_packed() -> None:
    assert alive_at_once(loading_events(RESIDENTS, "placed"), "temporaries") == 1


def test_readers_run_ahead_while_the_first_tensor_is_large() -> None:
    waiting = [alive_at_once(loading_events(RESIDENTS, "raced", race), "temporaries") for race in range(RACES)]

    assert min(waiting) >= READERS - 1
    assert len(set(waiting)) > 1


def test_races_differ_in_events_only() -> None:
    first, second = (loading_events(RESIDENTS, "raced", race) for race in (0, 1))

    assert first.events != second.events
    assert (first.sizes_bytes, first.categories) == (second.sizes_bytes, second.categories)
    assert loading_events(RESIDENTS, "raced", 0) == first


def test_only_a_load_that_packs_is_a_race() -> None:
    assert races(RESIDENTS, "raced") == RACES
    assert races(RESIDENTS, "placed") == 1
    assert races([resident._replace(quantized=False) for resident in RESIDENTS], "raced") == 1
