# make serve [PORT=8080]   prepare what is missing, then serve
# make setup               only prepare: environment, packages, weights
# make check               prepare, check the style, then run the tests that are quick: no server, browser or network peer
# make check CLOCK=+1y     the same with the clock a year ahead, with Debian's package faketime
# make test                prepare, then run every test
# make lint                check the style, the imports and the types
# make clean               remove the environment
# PYTHON=/path/to/python3 chooses the interpreter (3.10 or newer).

PORT ?= 8000
PYTHON ?= python3
TESTS ?= tests
QUICK := not e2e and not browser and not network and not slow
VENV ?= .venv

# Only the time of day: waiting with another monotonic clock would last as long as it is ahead. The times of files stay as they
# are, so tests that compare them with the clock are left out.
LATER := $(if $(CLOCK),PYTHONPATH=tests/later FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f '$(CLOCK)')
NOW := $(if $(CLOCK), and not file_times)

# Every process would compile every module again: a start would take a third longer, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := PIP_USER=0 $(BIN)/python -m pip install --disable-pip-version-check --no-input
LOCAL := $(wildcard packaging/*/pyproject.toml packaging/*/*.py packaging/*/*.pth packaging/*/MANIFEST.in)

.PHONY: serve setup weights check test lint clean

serve: setup
	@exec $(BIN)/hug -f api.py -p $(PORT)

setup: $(VENV)/.installed weights

# Where weights are kept is a setting, so this asks each time; it fetches only what is missing.
weights: $(VENV)/.installed
	@$(BIN)/python -m recognizer models fetch

check: lint weights
	@$(LATER) $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "$(QUICK)$(NOW)" $(TESTS)

test: $(VENV)/.installed-dev weights
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(TESTS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/mypy

$(VENV)/.installed: requirements.txt $(LOCAL)
	@packaging/make_venv.sh $(PYTHON) $(VENV)
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PIP) -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV)
