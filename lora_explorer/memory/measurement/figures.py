"""The figures that a prediction and a measurement have in common, under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figures:
    """Bytes of one run, as in MemoryEstimate. reserved and process are None on a CPU, which has no such allocator."""

    allocated_after_load_bytes: int
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_optimizer_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int | None = None
    process_bytes: int | None = None

    @property
    def known(self) -> Mapping[str, int]:
        """The figures that there are, by name."""
        return {name: size for name, size in asdict(self).items() if size is not None}
