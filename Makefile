# `make run` and `make test` set up all they need on a fresh machine; PYTHON chooses the interpreter (3.10 or later).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup run test check chromium fast-test search

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

run: setup
	$(BIN)/python app.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chromium:
	@sh tests/browser/ensure_chromium.sh

test: check chromium
	$(BIN)/python -m pytest

fast-test: setup
	$(BIN)/python -m pytest -m "not browser" -x

# Property tests on values that no run has seen yet.
search: setup
	$(BIN)/python -m pytest --hypothesis-profile=search $$(grep -rlE '^from hypothesis import given' --include='test_*.py' tests)
