# make help lists the targets. PYTHON is only used to make .venv; everything else runs from there.
PYTHON ?= python3
SETUP := $(PYTHON) -m infra.setup
BIN := .venv/bin
CARGO := $(BIN)/python -m infra.setup cargo
TESTS ?= $(wildcard tests/unit tests/property tests/integration tests/e2e tests/chaos)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-nightly check format up down lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make what is missing or out of date: .venv, rust_guard, the servers
	@$(SETUP)

demo: setup ## start the stack, render a job sent over HTTP and one sent to Kafka, stop
	@$(BIN)/python -m infra.demo

test: setup ## the whole suite that fits in 15 minutes
	$(CARGO) test --release --locked --workspace --quiet
	$(BIN)/pytest $(TESTS)

test-nightly: setup ## chaos, load, soak and stress
	$(BIN)/pytest $(wildcard tests/chaos tests/load tests/bench) --timeout 2400

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
