"""The process of its own in which a step is run for real.

It is started with a pickled Job on stdin and answers on stdout with a pickled dictionary.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings

from transformers.utils import logging

from lora_explorer.memory.measurement.real_step import run


def main() -> None:
    """Read a job, run it, and answer. What libraries print goes to stderr, as only the answer may be on stdout."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with answers, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickle.dump(run(pickle.load(sys.stdin.buffer)), answers)


if __name__ == "__main__":
    main()
