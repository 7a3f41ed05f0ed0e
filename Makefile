# Each target sets itself up: a fresh clone needs nothing but make, bash and Python 3.11-3.13.
.DEFAULT_GOAL := help
.PHONY: help setup lock test-lock wheels demo results bench-small performance soak test test-aarch64 test-cpus test-cpus-all test-tensorrt test-vla test-interop test-ros2 site stranger attack fuzz fuzz-structure check lint format clean distclean

BIN := .venv/bin
PYTEST_ARGS ?=
# Tests run in so many processes, a file of them in one: a core each, up to four. Files are begun in
# the order of tests/conftest.py: xdist's own, most tests first, would begin the longest ones last.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$((n < 4 ? n : 4)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Make .venv and install everything into it (ALLOW_CUDA, TORCH_INDEX, PYTHON: scripts/setup)
	@scripts/setup

lock: ## Renew what setup installs, after a change of pyproject.toml (UPGRADE=1: to the newest)
	@scripts/lock/renew

test-lock: ## Two set-ups of the last commit, each in a clone of its own, must be equal (10 minutes, PYTHON)
	@scripts/test-lock

wheels: ## Build what a robot installs, ofp-edge and its ExecuTorch, into dist (MACHINE=aarch64: for a board)
	@scripts/wheels

demo: setup ## The whole way once: collect, train, quantize, compile, profile, run
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

site: setup ## The documents as a site in build/site/html, its links checked; it needs no network
	@$(BIN)/python scripts/site/build_site.py

stranger: setup ## A new user by the documents alone, in an empty folder: data to a dry run (5 minutes)
	@scripts/stranger

results: setup ## Measure again what docs/results states of the shipped policy, and within limits (15 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/results
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/limits

bench-small: setup ## One row of each table in docs/benchmark.md, trained anew, beside what is published (10 minutes)
	@$(BIN)/python scripts/bench_small.py

performance: setup ## Measure again what docs/performance.md states (10 minutes, an idle machine)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/performance

test-aarch64: setup ## The robot's side on emulated aarch64: offline install, every golden output (8 minutes)
	@scripts/test-aarch64

test-cpus: setup ## Golden inputs on emulated processors: x86 without AVX2 and VNNI, ARM with i8mm (8 minutes)
	@scripts/test-cpus

test-cpus-all: setup ## The same, and a Cortex-A53 and an A76
	@scripts/test-cpus --all --whole

test: setup ## The whole test suite, a process a core (WORKERS, PYTEST_ARGS="-k name")
	@$(PYTEST) $(PYTEST_ARGS)

test-interop: setup ## Imported policies and the robot adapter against LeRobot itself (PYTHON >= 3.12; downloads 5.5 GB once)
	@scripts/test-interop

test-ros2: setup ## ROS 2's wire against Debian's Fast DDS, a small robot in C++ (says what to install)
	@scripts/test-ros2

soak: setup ## The loop for 4 x 10 minutes, idle and under stress-ng, beside cyclictest (SOAK_SECONDS=600)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/soak

ATTACK_TICKS ?= 100000
ATTACK_SEED ?= 0
attack: setup ## Random faults against docs/safety.md's promises (ATTACK_TICKS, ATTACK_SEED; an hour: 4000000)
	@$(BIN)/python scripts/attack_control.py --ticks $(ATTACK_TICKS) --seed $(ATTACK_SEED) --workers $(WORKERS)

test-tensorrt: setup ## Build this project's graphs with TensorRT-RTX, check names against TensorRT's bindings
	@scripts/tensorrt-wheels
	@$(BIN)/python -m pytest -m tensorrt tests/tensorrt $(PYTEST_ARGS)

test-vla: setup ## SmolVLA and pi0.5's expert, full size with drawn weights, to TensorRT-RTX (10 GiB, minutes)
	@scripts/tensorrt-wheels
	@$(BIN)/python -m pytest -s -m vla tests/tensorrt/test_vla_rtx.py $(PYTEST_ARGS)

FUZZ_SECONDS ?= 3600
fuzz: setup ## Damaged artefacts and messages for an hour (FUZZ_SECONDS, FUZZ_ARGS="--kind log --seed 7")
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

fuzz-structure: setup ## How many well-formed errors of datasets are noticed (FUZZ_SECONDS, FUZZ_ARGS="-o table.json")
	@$(BIN)/python -m tests.fuzz.structure --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

check: lint ## Format, lint, types, imports and the fast tests
	@$(PYTEST) -q -m "not slow" $(PYTEST_ARGS)

lint: setup ## Format, lint, types and imports, without tests
	@$(BIN)/ruff format --check --quiet || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy
	@MYPYPATH=scripts:scripts/lock:scripts/emulated $(BIN)/mypy scripts/*.py scripts/*/*.py
	@$(BIN)/lint-imports --no-logo

format: setup ## Rewrite the code in the one format
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

clean: ## Remove caches, builds and what the demo wrote
	@rm -rf build native/build dist demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	@rm -rf .venv .venv.lock
