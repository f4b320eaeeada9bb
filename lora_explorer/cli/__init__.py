"""The command line: the same results as the page, as tables for people or as JSON for scripts.

Results go to stdout and everything else to stderr. Exit status: 0 fine, 1 the configuration is at fault, 2 wrong call,
130 stopped by Ctrl-C.
"""

from lora_explorer.cli.application import app, main

__all__ = ["app", "main"]
