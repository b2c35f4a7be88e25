# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11
STAMP := $(VENV)/.installed

export DAGSTER_HOME := $(CURDIR)/.elspeth/dagster
export ELSPETH_LANDSCAPE_URL ?= sqlite:///$(CURDIR)/.elspeth/landscape.db

.PHONY: help demo ui test install fmt bench bench-llm bench-rows test-long clean bench-rate bench-rate-sim bench-clients bench-client

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once; a minute or so)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP) ## set up the environment

demo: $(STAMP) ## a real pipeline, offline: 2,400 messages, a fake model server, the whole audit
	@$(BIN)/python -m pipelines.demo

ui: $(STAMP) ## Dagster's UI on the demo's runs; launch the pipeline there
	@$(BIN)/python -m pipelines.demo --ui

test: $(STAMP) ## everything that CI checks: lint, format, types, layers, tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -n 2

test-long: $(STAMP) ## the same properties with many more examples, and the long crash runs
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -n 2 -m "" --timeout 1800

fmt: $(STAMP) ## format, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: bench-llm bench-rows bench-client bench-clients bench-rate ## the figures of docs/performance.md

bench-llm: $(STAMP) ## 100 rows, one query each, 50 ms, pool of 20
	@$(BIN)/python benchmarks/llm_step.py

bench-rows: $(STAMP) ## 100,000 rows through csv -> map -> gate -> csv, fully audited, beside plain inserts
	@$(BIN)/python -m benchmarks.audited_rows

bench-client: $(STAMP) ## calls a second of one process, alone and with the whole audit
	@$(BIN)/python -m benchmarks.bench_client_speed

bench-clients: $(STAMP) ## our client beside the openai SDK's and langchain's
	@$(BIN)/python -m benchmarks.bench_clients

bench-rate: $(STAMP) ## how clients find a limit that nobody told them, in real time
	@$(BIN)/python -m benchmarks.bench_rate

bench-rate-sim: $(STAMP) ## the same in simulation, in both worlds of 429s, beside what must be reached
	@$(BIN)/python -m benchmarks.rate_simulator

clean: ## forget the demo's runs and files
	@rm -rf .elspeth pipelines/defs/*/out
