"""`python -m lora_explorer.cli` is `lora-explorer`."""

from lora_explorer.cli.application import main

main()
