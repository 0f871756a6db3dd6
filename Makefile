# Everything goes through here: each target sets up what it needs itself, and only once.
# ARGS is passed on: make up ARGS="--port 9000", make test ARGS="tests/gateway -x".

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ARGS ?=
BIN := .venv/bin

.PHONY: help up test test-clients test-ray test-finetune test-names lint format docs bench soak lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="…" is passed on, as in: make up ARGS="--port 9000"'

up:  ## Install what is missing, then start Airboss
	@scripts/setup run
	@exec $(BIN)/airboss up $(ARGS)

test:  ## Run the gates (lint) and every test
	@$(MAKE) -j 3 gates-passed other-engines other-clients
	@if [ -n "$(ARGS)" ]; then exec $(BIN)/pytest $(ARGS); fi; \
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder --cache-clear || exec scripts/again $(BIN)/pytest $$?

test-clients:  ## Try other people's clients, each in an environment of its own
	@scripts/setup dev
	@scripts/setup clients
	@exec $(BIN)/pytest tests/conformance tests/test_examples.py $(ARGS)

test-ray:  ## Try engines on a Ray cluster of two nodes, in an environment of its own
	@scripts/setup ray
	@exec .venv-ray/bin/python -m pytest -W default tests/ray $(ARGS)

test-finetune:  ## Train adapters and serve them, in an environment of its own
	@scripts/setup finetune
	@exec .venv-finetune/bin/python -m pytest -W default tests/finetune $(ARGS)

test-names:  ## Find names as policies do, in an environment of its own
	@scripts/setup names
	@exec .venv-names/bin/python -m pytest -W default tests/names $(ARGS)

lint:  ## Run the gates alone: ruff, mypy, import-linter
	@scripts/setup dev
	@$(MAKE) --no-print-directory lint-only

.PHONY: lint-only
lint-only:
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

# What has an environment of its own is fetched while ours is made and checked.
.PHONY: gates-passed other-engines other-clients
gates-passed:
	@scripts/setup dev chromium
	@$(MAKE) lint-only $(if $(ARGS),,rewritten-tests)

other-engines:
	@scripts/setup clickhouse

other-clients:
	@scripts/setup clients openai-node kubernetes oidc-provider

# Every worker would rewrite the assertions of every test, all at once; mypy leaves a core free for it.
.PHONY: rewritten-tests
rewritten-tests:
	@$(BIN)/pytest --collect-only -qq >/dev/null || true  # what cannot be read is told by the run

format:  ## Format the code and fix what ruff can fix
	@scripts/setup dev
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

docs:  ## Build the documents as a static site, in site/
	@scripts/setup run
	@rm -rf site
	@$(BIN)/python -m airboss.console.docs_site site
	@echo 'made: open site/index.html, or let any web server serve site/'

bench:  ## Measure against nginx, Portkey's gateway and LiteLLM's proxy, side by side
	@scripts/setup dev nginx
	@exec $(BIN)/python -m benchmarks $(ARGS)

soak:  ## Tell the demo's story, kill processes a hundred times, watch a worker's memory over a million requests
	@scripts/setup dev
	@AIRBOSS_TEST_STORY=1 $(BIN)/pytest tests/journeys/test_demo.py
	@$(BIN)/python -m benchmarks.kills
	@$(BIN)/python -m benchmarks.kills_joined
	@exec $(BIN)/python -m benchmarks.soak $(ARGS)

lock:  ## Compile requirements.lock and requirements-dev.lock anew
	@scripts/lock $(ARGS)

clean:  ## Remove what these targets made; data directories stay
	rm -rf .venv .venv-clickhouse .clients .venv-ray .venv-finetune .venv-names .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build site
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
