# Everything happens in .venv/ at the root; nothing outside the tree is changed, except by `make tools` (as root).
#
#   make demo            install, then run the demo         make demo ARGS="--workers 500 --exit"
#   make test            install, check, run the tests      make test ARGS="-k journal"
#
# PYTHON=python3.12 chooses the interpreter of a new .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Quiet: setuptools warns that folders of templates and tables could be imported.
INSTALL_OURS := PYTHONWARNINGS=ignore $(PIP) install --quiet --no-deps --no-build-isolation --editable .
PYTEST := $(BIN)/python -m pytest

# The stamps say which lock the environment holds, so a second make installs nothing.
RUNTIME := $(VENV)/stamp-runtime
DEV := $(VENV)/stamp-dev

.PHONY: help setup setup-dev tools demo test test-long test-faults bench check format lock clean

help:
	@echo "make demo         run the demo (ARGS=\"--workers 500 --exit\" passes options)"
	@echo "make test         check the code and run the tests, at most 15 minutes"
	@echo "make test-long    tests that take minutes"
	@echo "make test-faults  tests that kill processes and servers"
	@echo "make bench        measurements, side by side"
	@echo "make check        lint, types, import rules, dependencies"
	@echo "make format       format the code"
	@echo "make setup        only install what running needs"
	@echo "make lock         resolve the dependencies anew"
	@echo "make clean        remove .venv and caches (not the data in .gotong)"

setup: $(RUNTIME)

setup-dev: $(DEV)

demo: $(RUNTIME)
	@$(BIN)/python -m gotong demo $(ARGS)

# Two processes, each with its own broker and database; a file's tests stay together, they share what they start.
test: check tools
	$(PYTEST) -n 2 --dist loadfile $(ARGS)

test-long: $(DEV) tools
	$(PYTEST) -m "long and not faults" --timeout 1800 $(ARGS)

test-faults: $(DEV) tools
	$(PYTEST) -m faults --timeout 900 $(ARGS)

bench: $(DEV) tools
	@set -e; for each in benchmarks/*/__main__.py; do \
	    folder=$$(dirname "$$each"); \
	    $(BIN)/python -m "benchmarks.$$(basename "$$folder")" $(ARGS); \
	done

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Java and Maven for Apache Kafka, chromium for the browser tests: installed when they are missing and we may.
tools: $(DEV)
	@tests/stack/install_tools.sh
	@$(BIN)/python -m tests.stack fetch || true

lock: $(DEV)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(PIP) install --quiet uv
	$(BIN)/python tools/lock.py $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

$(BIN)/python:
	@PYTHON="$(PYTHON)" tools/make_venv.sh $(VENV)

# The hashes cover every file that is installed; our own package is built from the tree by the setuptools of the lock.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what running needs ..."
	@$(PIP) install --quiet --no-compile --require-hashes --requirement requirements.lock
	@$(INSTALL_OURS)
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing what developing needs ..."
	@$(PIP) install --quiet --no-compile --require-hashes --requirement requirements-dev.lock
	@$(INSTALL_OURS)
	@touch $(RUNTIME) $@
