# `make` or `make help` lists the targets. Each one sets up what it needs by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

NATIVE := $(shell find kernel crates -name '*.[ch]' -o -name '*.rs' -o -name 'Cargo.toml') Cargo.lock
C_FILES := $(shell find kernel benchmarks/native -name '*.[ch]')

# Tests start many processes, and each would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-deep lint fmt bench docs clean browser machines clients sim soak

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "flowtape needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@command -v cargo >/dev/null || \
		{ echo "flowtape needs a Rust toolchain (cargo): see https://rustup.rs"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(VENV)/.dev ## make .venv with flowtape and its development tools in it

demo: $(VENV)/.installed ## watch the bundled tape in a browser
	$(BIN)/flowtape demo

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	command -v google-chrome >/dev/null || test -n "$$FLOWTAPE_CHROMIUM" || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else \
		echo "no Chromium found: the browser tests are skipped (install the package chromium)"; \
	fi

machines:
	@if ! { command -v clang && command -v qemu-aarch64 && \
		command -v aarch64-linux-gnu-gcc; } >/dev/null; then \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq clang qemu-user \
			gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null; \
	else \
		echo "no clang, qemu-aarch64 or aarch64-linux-gnu-gcc: what needs them is skipped"; \
	fi; fi

test: $(VENV)/.dev browser ## run the tests: Python, C kernel under sanitizers, Rust, browser
	cargo test --quiet --workspace --exclude flowtape-py
	$(PYTEST) -m 'not deep and not browser' -n auto --dist worksteal
	$(PYTEST) -m 'browser and not deep'

test-deep: $(VENV)/.dev browser machines clients ## run the slow checks too
	HYPOTHESIS_PROFILE=deep $(PYTEST) --timeout 1800

SOAK_MINUTES ?= 10
soak: $(VENV)/.dev ## run random scripts, damaged states, model against kernel for SOAK_MINUTES
	$(BIN)/python -m tests.kernel.soak $(SOAK_MINUTES)

COUNT ?= 200
sim: $(VENV)/.dev ## play the live connector through COUNT seeds of trouble, or SEED=n with its log
	$(BIN)/python -m tests.connectors.simulation $(if $(SEED),--seed $(SEED),--count $(COUNT))

CLIENTS := build/clients
clients: $(CLIENTS)/.installed
$(CLIENTS)/.installed: tests/clients/requirements.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --requirement $<
	@touch $@

lint: $(VENV)/.dev ## check style and types: ruff, mypy, clippy, rustfmt, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

fmt: $(VENV)/.dev ## format all code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	cargo fmt
	$(BIN)/clang-format -i $(C_FILES)

bench: $(VENV)/.dev browser ## measure the bars of benchmarks/README.md, as ratios in one run
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev ## run the examples in README.md and docs/
	$(PYTEST) tests/docs

clean: ## remove everything that can be made again
	rm -rf $(VENV) target build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f crates/flowtape-py/python/flowtape/_kernel*.so
