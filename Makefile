# Each target sets up all it needs, from nothing: a virtual environment with pinned packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench bench-operator clean help

help:
	@echo "make demo    train, classify and evaluate a small synthetic scene"
	@echo "make test    lint, type check and run the tests"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   the measurements of BENCHMARKS.md"
	@echo "make bench-operator   the deformable operator alone"
	@echo "make clean   remove the environment and what tools have cached"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("comix needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The pinned torch first and by itself, so that no range of another package chooses a newer one.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/comix demo comix-demo --overwrite

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: the tests run small networks, and threads that wait for each other are slower.
test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m "not benchmark" $(PYTEST_ARGS)

# MONAI and torchgeo bring much along, so they get an environment of their own.
$(BENCH)/.installed: pyproject.toml constraints.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,bench]'
	touch $@

bench: $(BENCH)/.installed
	OMP_WAIT_POLICY=PASSIVE PYTHONPATH=tests $(BENCH)/bin/python tests/benchmarks/bench_operator.py
	OMP_WAIT_POLICY=PASSIVE $(BENCH)/bin/python -m pytest -m benchmark
	PYTHONPATH=tests $(BENCH)/bin/python tests/benchmarks/bench_network.py
	PYTHONPATH=tests $(BENCH)/bin/python tests/benchmarks/bench_evaluate.py
	PYTHONPATH=tests $(BENCH)/bin/python tests/benchmarks/bench_sharpen.py
	for what in overhead memory peers; do PYTHONPATH=tests $(BENCH)/bin/python tests/benchmarks/bench_map.py $$what || exit 1; done

# The deformable operator alone, on everything that runs here; bench_gpu.py tells all of a GPU.
bench-operator: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_operator.py

clean:
	rm -rf $(VENV) $(BENCH) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis comix-demo
