# Everything runs in .venv, which is made when it is needed; Python >= 3.11 and make are all that has to be there.

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# One thread per process: the tests run in parallel, and small tables train fastest so.
THREADS := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
SOURCES := src studies tests benchmarks examples
DATA ?= ml-1m
OUT ?= runs/gmf

.PHONY: help setup demo check test test-slow test-gpu bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) ## install everything, at pinned versions, in .venv

demo: $(STAMP) ## train on synthetic data, compress 16 times, and write a report card (about a minute)
	$(VENV)/bin/slimtable demo

check: $(STAMP) ## format, lint and types
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/mypy

test: $(STAMP) ## the test suite and the examples in docstrings, in two processes
	$(THREADS) $(PYTHON) -m pytest -q -n 2 --doctest-modules src/slimtable studies tests

test-slow: $(STAMP) ## the tests that take minutes
	$(THREADS) $(PYTHON) -m pytest -q -n 2 -m slow

# Without the environment where PyTorch finds a GPU outside of it, as in an image that brings its own CUDA build.
GPU_PYTHON ?= $(shell python3 -c 'import torch; exit(not torch.cuda.is_available())' 2>/dev/null && echo python3 || echo $(PYTHON))

test-gpu: ## the tests that need a CUDA device, and step times beside full (minutes); skipped where there is none
	PYTHONPATH=src:. $(GPU_PYTHON) -m pytest tests/gpu -m gpu -q -rs -p no:cacheprovider

bench: $(STAMP) ## the benchmark of the documentation, on DATA=ml-1m into OUT=runs/gmf (hours)
	$(VENV)/bin/slimtable bench --data $(DATA) --model gmf --methods full,low_rank,uniform,dpq,mgqe \
		--seeds 3 --epochs 20 --out $(OUT)

clean: ## remove .venv and caches; runs stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src studies tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@python=$$(for name in python3.14 python3.13 python3.12 python3.11 python3 python; do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; \
	done); \
	if [ -z "$$python" ]; then \
		echo "error: no Python >= 3.11 found. Install one, such as python3.12, and run make again." >&2; exit 1; \
	fi; \
	$(PYTHON) -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV) || { \
		echo "error: $$python cannot make a virtual environment. Install its venv package (python3-venv)." >&2; \
		rm -rf $(VENV); exit 1; \
	}
	$(PYTHON) -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@
