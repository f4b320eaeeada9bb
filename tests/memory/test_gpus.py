"""The table of GPUs: complete, plausible, and every figure with its origin."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml

from lora_explorer import presets

GPUS: list[dict[str, Any]] = yaml.safe_load((presets.folder() / "gpus.yml").read_text(encoding="utf-8"))
KEYS = {
    "name",
    "memory_bytes",
    "context_bytes",
    "context_source",
    "bandwidth_gb_per_s",
    "bf16_tflops",
    "fp32_tflops",
    "host_link_gb_per_s",
    "bf16",
    "architecture",
    "compute_capability",
    "source",
}
CAPABILITIES = {
    "Pascal": {"6.0"},
    "Volta": {"7.0"},
    "Turing": {"7.5"},
    "Ampere": {"8.0", "8.6"},
    "Ada": {"8.9"},
    "Hopper": {"9.0"},
    "Blackwell": {"10.0", "12.0"},
    "CDNA 2": {None},
    "CDNA 3": {None},
}
BEFORE_BF16 = {"Pascal", "Volta", "Turing"}
GIB = 2**30
each_gpu = pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu["name"])


def test_at_least_forty_gpus_are_there() -> None:
    assert len(GPUS) >= 40


def test_a_name_means_one_gpu_only() -> None:
    names = Counter(gpu["name"].casefold() for gpu in GPUS)
    assert [name for name, times in names.items() if times > 1] == []


@each_gpu
def test_a_gpu_has_the_keys_of_the_format_and_says_its_source(gpu: dict[str, Any]) -> None:
    assert set(gpu) == KEYS
    assert gpu["source"].strip()


@each_gpu
def test_memory_and_speed_lie_where_real_cards_do(gpu: dict[str, Any]) -> None:
    assert type(gpu["memory_bytes"]) is int
    assert 6 * GIB < gpu["memory_bytes"] < 300 * GIB
    assert type(gpu["context_bytes"]) is int
    assert GIB // 10 < gpu["context_bytes"] < GIB
    assert 200 <= gpu["bandwidth_gb_per_s"] <= 10_000
    assert 15 <= gpu["bf16_tflops"] <= 3_000


@each_gpu
def test_bfloat16_came_with_ampere(gpu: dict[str, Any]) -> None:
    assert gpu["bf16"] is (gpu["architecture"] not in BEFORE_BF16)


@each_gpu
def test_usable_memory_is_below_the_size_in_the_name(gpu: dict[str, Any]) -> None:
    """A card sold with 80 GB never hands out 80 GiB; a figure at or above it would be the wrong one."""
    sizes = [word.removesuffix("GB") for word in gpu["name"].split() if word.endswith("GB")]
    assert all(gpu["memory_bytes"] <= int(size) * GIB for size in sizes)


def test_cards_of_one_architecture_have_one_context_size() -> None:
    """No card's own context is known well enough to differ from its architecture's."""
    contexts = {(gpu["architecture"], gpu["context_bytes"]) for gpu in GPUS}
    assert len(contexts) == len({architecture for architecture, _ in contexts})


@each_gpu
def test_a_context_says_how_well_it_is_known(gpu: dict[str, Any]) -> None:
    assert gpu["context_source"] in ("measured", "reported", "assumed")
    # The one published figure of a process beyond its segments is that of a T4.
    assert (gpu["context_source"] == "measured") is (gpu["name"] == "T4")


@each_gpu
def test_compute_capability_is_that_of_the_architecture(gpu: dict[str, Any]) -> None:
    assert gpu["compute_capability"] in CAPABILITIES[gpu["architecture"]]


@each_gpu
def test_a_source_names_where_speed_and_memory_come_from(gpu: dict[str, Any]) -> None:
    speed, _, memory = gpu["source"].partition("; ")
    assert any(word in speed for word in ("data sheet", "whitepaper", "fp32 figure"))
    assert any(word in memory or word in speed for word in ("total_memory", "nvidia-smi", "out-of-memory"))


@each_gpu
def test_speed_is_dense(gpu: dict[str, Any]) -> None:
    """Figures with sparsity are twice as high; those of data centre cards would stand out against their bandwidth."""
    assert 25 < gpu["bf16_tflops"] * 1000 / gpu["bandwidth_gb_per_s"] < 480
