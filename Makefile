# Needs Python 3.11 to 3.13, make and a package registry. Another Python: make PYTHON=python3.12 test
# A registry of your own: as pip and uv are told of it (PIP_INDEX_URL, pip.conf, UV_DEFAULT_INDEX).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Says that the environment is what the locks ask for; younger locks make it stale.
STAMP := $(VENV)/.hacon-set-up
BENCH_STAMP := $(VENV)/.hacon-bench

# uv does not read pip's configuration: tell it of pip's index where there is one. Empty means none.
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}}" $(BIN)/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --annotation-style line $(UPGRADE)

# No telemetry.
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check speed lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## the environment in .venv, from the hashed locks

demo: $(STAMP) ## the main job on real images (scikit-learn's digits), offline
	$(BIN)/hacon select --pool digits --budget 20 --run demo

# Pure tests first, then what starts processes: a mistake shows up in the cheapest layer that can see it. A file's
# tests share what they have set up, so it is files that run side by side, the longest first.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 10
PURE := tests/test_project.py tests/golden tests/contract tests/unit
test: check ## all checks, then all tests
	$(PYTEST) $(PURE)
	$(PYTEST) tests/cluster tests/ray tests/gloo tests/slow tests/gpu

test-fast: $(STAMP) ## the pure tests that take no second each: a minute on two cores
	$(PYTEST) -m "not slow" --ignore tests/unit/on_ray --ignore tests/unit/stages $(PURE)

check: $(STAMP) ## style, types and import walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

speed: $(BENCH_STAMP) ## how fast it is, beside its peers: docs/speed.md
	$(BIN)/python -m speed --write

# The GPU lock is the strictest (cuML caps numpy, numba and pandas). The others are held to it, so that
# a head node without a GPU and its GPU workers exchange objects of the same versions. The benchmark's is held to
# the developers' too: it is installed on top of that.
lock: $(BIN)/uv ## the locks anew; to newer versions: make lock UPGRADE=--upgrade
	@echo uv | $(COMPILE) --no-annotate --output-file requirements-uv.lock -
	@$(COMPILE) --extra gpu --output-file requirements-gpu.lock pyproject.toml
	@$(COMPILE) --constraints requirements-gpu.lock --output-file requirements.lock pyproject.toml
	@$(COMPILE) --constraints requirements-gpu.lock --extra dev --output-file requirements-dev.lock pyproject.toml
	@$(COMPILE) --constraints requirements-gpu.lock --constraints requirements-dev.lock \
		--extra bench --output-file requirements-bench.lock pyproject.toml

clean: ## remove the environment and the caches (never the store)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "hacon needs Python 3.11 to 3.13, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true); name another with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu install python3-venv first." >&2; exit 1; }

$(BIN)/uv: requirements-uv.lock | $(BIN)/python
	@echo "setting up $(VENV) (once; about 6 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

# Compiled once here (half a minute), or else by each of Ray's processes on its own, at every start where
# PYTHONDONTWRITEBYTECODE is set. So is UMAP (half a minute more), or else beside the first run.
$(STAMP): $(BIN)/uv requirements-dev.lock pyproject.toml
	@$(UV) pip sync --python $(BIN)/python --compile-bytecode --require-hashes requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from pipeline.stages.warm_up import compile_umap; compile_umap()'
	@touch $@

# Added to what is there, not synced: nothing of the developers' environment goes or changes its version.
$(BENCH_STAMP): $(STAMP) requirements-bench.lock
	@$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --requirements requirements-bench.lock
	@touch $@
