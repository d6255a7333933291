# make help lists the targets. PYTHON is only used to make .venv; everything else runs from there.
PYTHON ?= python3
SETUP := $(PYTHON) -m infra.setup
BIN := .venv/bin
CARGO := $(BIN)/python -m infra.setup cargo
TESTS ?= tests/unit tests/property tests/integration tests/e2e

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-nightly strikes chaos chaos-many chaos-bugs model fuzz bench check format up down lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make what is missing or out of date: .venv, rust_guard, the servers
	@$(SETUP)

demo: setup ## start the stack, render a job sent over HTTP and one sent to Kafka, stop
	@$(BIN)/python -m infra.demo

test: setup ## the whole suite that fits in 15 minutes
	$(CARGO) test --release --locked --workspace --quiet
	$(BIN)/pytest -m "not strike" $(TESTS)

strikes: setup ## parts killed, frozen and cut off at named points: what waits for fences and time-outs
	$(BIN)/pytest -m strike $(TESTS)

SEED ?= 1
CHAOS := $(BIN)/python -m tests.chaos --seed $(SEED)
test-nightly: setup strikes chaos chaos-many chaos-bugs model fuzz bench ## what takes longer, each part at most an hour

chaos: setup ## a seeded storm of 500 jobs and 60 faults, rendered by the tiny Mochi-1 (SEED=N)
	$(CHAOS) --size real

chaos-many: setup ## 20,000 jobs and 300 faults, with a renderer of milliseconds (SEED=N)
	$(CHAOS) --size many

chaos-bugs: setup ## plant bugs in copies of the product; a storm must find each
	$(BIN)/python -m tests.chaos.bugs --seed $(SEED)

MODEL := $(CARGO) run --release --locked --quiet -p guard-model --
model: setup ## the protocol's model, larger than in make test; states and depth are printed
	$(MODEL) check --jobs 3 --crashes 2
	$(MODEL) check --jobs 2 --total 2 --crashes 2 --suspicions 1 --net 1 --store 1 --repeats 1 --cancels 1 --failures 1
	$(MODEL) check --jobs 1 --total 2 --crashes 1 --splits 1 --suspicions 1 --net 1 --store 1 --repeats 1 \
	  --cancels 1 --failures 1 --recreations 1 --losses 1 --collector

fuzz: setup ## a million hostile inputs for the guard
	TTV_FUZZ_CASES=1000000 PROPTEST_CASES=20000 $(CARGO) test --release --locked --workspace --quiet

bench: setup ## what protection costs: transactions, the guard, checkpoints, each beside a bare baseline
	$(BIN)/python -m tests.bench.transactions
	$(BIN)/python -m tests.bench.guard
	$(BIN)/python -m tests.bench.checkpoints

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
