# make serve [PORT=8080]   prepare what is missing, then serve
# make setup               only prepare: environment, packages, weights
# make test                prepare, then run every test
# make lint                check the style
# make clean               remove the environment
# PYTHON=/path/to/python3 chooses the interpreter (3.10 or newer).

PORT ?= 8000
PYTHON ?= python3
TESTS ?= tests
VENV ?= .venv

# Every process would compile every module again: a start would take a third longer, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := PIP_USER=0 $(BIN)/python -m pip install --disable-pip-version-check --no-input
LOCAL := $(wildcard packaging/*/pyproject.toml packaging/*/*.py packaging/*/*.pth packaging/*/MANIFEST.in)

.PHONY: serve setup weights test lint clean

serve: setup
	@exec $(BIN)/hug -f api.py -p $(PORT)

setup: $(VENV)/.installed weights

# Where weights are kept is a setting, so this asks each time; it fetches only what is missing.
weights: $(VENV)/.installed
	@$(BIN)/python -m recognizer models fetch

test: $(VENV)/.installed-dev weights
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(TESTS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .

$(VENV)/.installed: requirements.txt $(LOCAL)
	@packaging/make_venv.sh $(PYTHON) $(VENV)
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PIP) -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV)
