# make help lists the targets. PYTHON is only used to make .venv; everything else runs from there.
PYTHON ?= python3
SETUP := $(PYTHON) -m infra.setup
BIN := .venv/bin
CARGO := $(BIN)/python -m infra.setup cargo
TESTS ?= tests/unit tests/property tests/integration tests/e2e

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-nightly chaos bench check format up down lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make what is missing or out of date: .venv, rust_guard, the servers
	@$(SETUP)

demo: setup ## start the stack, render a job sent over HTTP and one sent to Kafka, stop
	@$(BIN)/python -m infra.demo

test: setup ## the whole suite that fits in 15 minutes
	$(CARGO) test --release --locked --workspace --quiet
	$(BIN)/pytest $(TESTS)

SEED ?= 1
test-nightly: setup chaos bench ## what takes longer: a storm of faults, many more random cases, the benches
	PROPTEST_CASES=20000 $(CARGO) test --release --locked --workspace --quiet

chaos: setup ## a seeded storm: parts killed and frozen while jobs flow in (SEED=N)
	$(BIN)/python -m tests.chaos.storm --seed $(SEED)

bench: setup ## the transactional loop beside a bare one
	$(BIN)/python -m tests.bench.transactions

check: setup ## linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/stubtest rust_guard
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings

format: setup ## rewrite sources in the project's format
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(CARGO) fmt --all

up: setup ## start the stack in var/stack and leave it running
	@$(BIN)/ttv up --detach

down: ## stop the stack in var/stack
	@$(BIN)/ttv down

lock: setup ## resolve every lock file anew
	@$(SETUP) lock

clean: ## delete everything that set-up and the stack made, caches included
	@test ! -e .venv/bin/ttv || .venv/bin/ttv down 2>/dev/null || true
	rm -rf .venv .cache target var rust_guard/*.so
