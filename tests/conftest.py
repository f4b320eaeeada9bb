"""How Hypothesis looks for counterexamples: the same ones in every run, so that a change answers for itself alone.

`make search` looks for new ones.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("same")
