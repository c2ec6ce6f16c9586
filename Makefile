# Everything a person or a machine types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
HOME_AT ?= home
# Tests that run at once: many wait for servers and processes more than they work.
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup system services demo check types form docs format test test-quick bench mutants torture gameday lock clean

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: system .venv/.ready  ## Make the environment: about 4 minutes and 6 GB

system:
	@if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq ffmpeg; \
	  else echo "Install ffmpeg first: sudo apt-get install ffmpeg"; exit 1; fi; fi

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "The lock is for Python 3.11; name it: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	# Without dependencies: the lock is whole. It leaves out pyaudio, which tinysoundfont asks for
	# and needs only to play through a loudspeaker.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup  ## Run the whole study on synthesised music: minutes on two cores
	$(BIN)/stemworks run study --recipe demo --home $(HOME_AT)

# Types take as long as all else together: the others are checked meanwhile.
check: setup  ## Lint, format, types, walls, documentation
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types form docs

types: setup
	$(BIN)/mypy

form: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

docs: setup  ## Build the documentation site into build/site; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

test: check services  ## Everything that CI checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --durations=40

test-quick: setup  ## For the working day: without servers, studies and whatever takes ten seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "not slow and not server"

# Tests of several servers stand on these; without them they are skipped, and say so.
services:
	@missing=""; \
	  if ! command -v redis-server >/dev/null; then missing="$$missing redis-server"; fi; \
	  if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then missing="$$missing postgresql"; fi; \
	  if ! command -v ip >/dev/null; then missing="$$missing iproute2"; fi; \
	  if [ -z "$$missing" ]; then :; \
	  elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq $$missing \
	      || echo "Tests that need$$missing are skipped"; \
	  else echo "Some tests are skipped; for them: sudo apt-get install$$missing"; fi

format:  ## Put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Measure, store the figures, write BENCHMARKS.md: about 10 minutes on idle cores
	$(BIN)/python -m tests.benchmarks

torture: setup  ## Kill packers, fail their servers, feed them damage: about 12 minutes
	$(BIN)/python -m tests.torture

gameday: setup services  ## Disturb a study on purpose, and resume it: 85 minutes on two busy cores
	$(BIN)/python -m tests.gameday

mutants: setup  ## Plant small faults where numbers are made: do tests see them? About 10 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants

lock: setup  ## Resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --override docker/lock-overrides.txt \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	  --output-file requirements.lock

clean:  ## Remove what the commands made, but no home
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
