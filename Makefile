# Everything here works on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?=
# One thread a process, which sleeps while it waits; what was compiled once is kept for the processes that tests start.
QUIETLY := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder

.PHONY: install demo test coverage test-all bench docs check wheel clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

install: .venv/installed

demo: install
	$(BIN)/medgrad demo

test: install
	$(QUIETLY) $(BIN)/pytest $(SIDE_BY_SIDE) $(TESTS)

# The same suite, half as fast again, and which lines it does not reach.
coverage: install
	$(QUIETLY) $(BIN)/pytest $(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered --cov-fail-under=90 $(TESTS)

test-all: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench,docs]"
	$(BIN)/pytest -m "not gpu" --timeout 3600 $(TESTS)

bench: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/run_all.py

# The variable silences what the theme says of its own future at every build.
docs: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	rm -rf docs/reference
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: install
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy

# Built from what lies here now: an old build folder would lend it files that are gone.
wheel: install
	rm -rf build src/*.egg-info/SOURCES.txt
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build

clean:
	rm -rf .venv build dist demo
