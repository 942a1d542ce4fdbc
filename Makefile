# Two commands need to be known: make demo, make test. Both make the environment when it is not there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export DVC_NO_ANALYTICS := 1
export CI := true
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; say PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

# Tests run in so many processes, those of one file in the same: they share devices and projects.
JOBS ?= 2
PYTEST := $(BIN)/pytest -q -n $(JOBS) --dist loadfile

# The binary in it converts for ncnn; the torch that it asks for is not needed.
PNNX := pnnx==20261020

.PHONY: help demo test lint unit slow bench engines mutants wheel clean

help: ## list what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.package ## run the digits project from training to one prediction on a device's files
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

test: lint unit slow ## every check and test that needs no extra system package

lint: $(VENV)/.dev ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev ## the quick tests
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTEST) -m "not slow and not bench" --cov --cov-report=

slow: $(VENV)/.dev ## the tests that take longer than a few seconds each, and the coverage of all
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTEST) -m "slow and not bench" --cov --cov-append --cov-report=term:skip-covered

bench: $(VENV)/.dev ## print figures; nothing is judged
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -q -s -m bench tests/bench

engines: $(VENV)/.dev ## put all engines to all cases and models, and write the tables of docs/engines.md
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/engine_tables.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/rank_engines.py --write

mutants: $(VENV)/.dev ## attack an agent with ten thousand mutated repositories and count what it says
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/mutate_repository.py --count 10000 --jobs 2

wheel: $(VENV)/.dev ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) dist build .coverage .benchmarks .hypothesis .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "edgeops needs Python 3.11 or newer: none was found; say PYTHON=/path/to/python" >&2; exit 4; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make environments: install its venv module (on Debian: apt install python3-venv)" >&2; exit 4; }

$(VENV)/.package: pyproject.toml | $(VENV)/bin/python
	@echo "installing edgeops into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml scripts/dev_requirements.py $(VENV)/.package
	@echo "installing the tools for tests into $(VENV)"
	@$(BIN)/python scripts/dev_requirements.py > $(VENV)/dev.txt
	@$(BIN)/python -m pip install --quiet --requirement $(VENV)/dev.txt
	@echo "installing all engines into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[all]'
	@$(BIN)/python -m pip install --quiet --no-deps '$(PNNX)'
	@touch $@
