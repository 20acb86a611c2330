# Two commands for everybody: `make demo` and `make test`. Both set up what they need in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint setup bench lock clean

setup: .venv/ready

# The lock file holds exact versions of everything, so that every machine gets what was tested.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python flows/demo.py

# The rooms without I/O: every branch of them is tested.
PURE := model paying errors events query criteria aoi filters spool plan planning report resume searching \
  verify orbitfile fitsfile bodies layouts multihash pvl s2names s3href totp maps/scene maps/graticule
COMMA := ,
SPACE := $(subst ,, )

# Faults run without the tracer: CPython 3.11 can refuse it to one of many threads that start at once.
test: setup lint
	$(BIN)/python -m pytest -n 2 tests/faults
	$(BIN)/python -m pytest -n 2 --ignore=tests/faults --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --fail-under=100 --precision=2 --skip-covered \
	  --include='$(subst $(SPACE),$(COMMA),$(PURE:%=src/skystage/%.py))'

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow

# The peers have a place of their own: what they depend on is not ours to lock.
.venv-bench/ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --quiet --disable-pip-version-check 'pip>=25.1'
	.venv-bench/bin/python -m pip install --quiet --quiet -e '.[sandbox]' --group bench
	touch $@

bench: .venv-bench/ready
	.venv-bench/bin/python benchmarks/run.py --quick

# For maintainers: bring the lock file up to date.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
	  --no-header --no-annotate --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-bench demo-run .snakemake
