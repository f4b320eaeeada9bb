"""What the tests of counts have covered, said at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Covered:
    """Architectures whose counts equalled PEFT's, with the number of settings; and those PEFT refused altogether."""

    equal: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    not_built: list[str] = field(default_factory=list)


_COVERED = pytest.StashKey[Covered]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COVERED] = Covered()


@pytest.fixture(scope="session")
def covered(pytestconfig: pytest.Config) -> Covered:
    return pytestconfig.stash[_COVERED]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    done = config.stash[_COVERED]
    if not done.equal:
        return
    accepted = [name for name, settings in done.equal.items() if settings]
    terminalreporter.write_line(
        f"Counts equal PEFT's full injection on {len(accepted)} causal architectures "
        f"({sum(done.equal.values())} adapters; the same {sum(done.refused.values())} refused on both sides; "
        f"{len(done.not_built)} model types do not build from their default config: {', '.join(done.not_built)})."
    )
