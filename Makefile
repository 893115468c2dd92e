# `make demo` runs the example site, `make test` passes the tests. Both install what they need into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
ADDRESS ?= 127.0.0.1
PORT ?= 8000

.PHONY: demo services test lint bench torture soak mutants fuzz clean

demo: $(VENV)/.installed-demo
	cd example_project && $(BIN)/python manage.py migrate --verbosity 0
	cd example_project && $(BIN)/python manage.py load_places
	@echo "Open http://$(ADDRESS):$(PORT)/ - end with Ctrl-C"
	cd example_project && exec $(BIN)/python -m uvicorn atlas.asgi:application --host $(ADDRESS) --port $(PORT) --log-level warning

# The same towns, once `make demo` has loaded them, as a FastAPI service in four processes.
services: $(VENV)/.installed-services
	@echo "Open http://$(ADDRESS):$(PORT)/docs - end with Ctrl-C"
	cd example_project && exec $(BIN)/python -m uvicorn services.fastapi_service:app --workers 4 --host $(ADDRESS) --port $(PORT) --log-level warning

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Long runs; their figures are committed beside the scripts.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/django_cache.py
	$(BIN)/python benchmarks/aiocache_cache.py
	$(BIN)/python benchmarks/dogpile_cache.py
	$(BIN)/python benchmarks/processes.py
	$(BIN)/python benchmarks/lists_and_hashes.py
	$(BIN)/python benchmarks/scale.py --records 1000000

torture: $(VENV)/.installed-dev
	FERROKV_TORTURE=1 $(BIN)/python -m pytest -n auto --timeout 0 tests/engine/test_power_cuts.py tests/engine/test_model.py tests/processes/test_interleavings.py tests/processes/test_kill_loop.py tests/commands/test_redis.py tests/engine/test_system_calls.py

# Processes of all kinds on one directory, and all that can happen to them; the figures go to benchmarks/results/soak.json.
MINUTES ?= 30
SEED ?=
soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.processes.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Seeded bugs, each of which the tests have to catch.
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants

# Ten million inputs for each decoder; `make fuzz FUZZ="edit --runs 1000000"` for one of them.
FUZZ ?= --runs 10000000
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	$(BIN)/python -m tests.format.fuzz.run $(FUZZ)

clean:
	rm -rf $(VENV) example_project/var

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ferrokv needs Python 3.11 or later; say which: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
