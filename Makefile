# Two commands do everything: `make run` and `make test`. Each sets up .venv by itself when it is missing.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)

# Where pip is configured with a folder of wheels, uv takes torch's CPU build from it; elsewhere from PyTorch's CPU index.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifdef CUDA
export UV_TORCH_BACKEND ?= auto
else ifeq ($(strip $(UV_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= cpu
endif

export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export RAY_AUTH_MODE ?= token
export RAY_USAGE_STATS_ENABLED ?= 0
export RAY_ENABLE_UV_RUN_RUNTIME_ENV ?= 0
export OMP_NUM_THREADS ?= 1

.PHONY: help setup run test check lint types bench down lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/ready ## create .venv and install the locked dependencies (CUDA=1: the CUDA build of torch)

.venv/ready: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: install it, or set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	.venv/bin/uv pip install --quiet $(if $(CUDA),--upgrade-package torch) -r requirements.lock
	.venv/bin/uv pip install --quiet --no-deps -e .
	@touch $@

run: .venv/ready ## bring the cluster up and run the story (DATA=path: on your own channels; ONCE=1: end after the story)
	@analyticbot demo $(if $(DATA),--data "$(DATA)") $(if $(ONCE),--once)

down: .venv/ready ## stop what `make run` or `analyticbot up` started
	@analyticbot down

test: .venv/ready check ## all checks and tests, with coverage
	@bash .ci/pytest

check: lint types ## lint, layer contracts, types

lint: .venv/ready
	ruff check .
	ruff format --check .
	lint-imports

types: .venv/ready
	mypy

bench: .venv/ready ## measure; every bench prints its figures
	python -m bench $(ARGS)

lock: ## choose newer versions within pyproject's bounds
	.venv/bin/uv pip compile --quiet --no-annotate --group dev pyproject.toml -o requirements.lock --no-header
	@sed -i -E 's/^(torch==[0-9.]+)\+.*/\1/; /^(nvidia-|cuda-|triton)/d' requirements.lock

clean: ## remove .venv and caches (stored data in var/ stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
