# Two commands matter: `make demo` and `make test`. Both do all of their own set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# One thread per process: two threads fighting for two busy cores are several times slower.
export OMP_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: setup demo test slow lint types bench lock clean

setup: $(READY)

$(READY): requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet -r requirements.lock
	@touch $@

demo: setup
	$(BIN)/python runner.py --method erm --dataset phantom
	$(BIN)/python -m leaderboard

test: setup lint types
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.speed

# The lock is generated, never edited: it carries every platform and the torch/torchvision pair.
lock: setup
	$(BIN)/uv pip compile setup.cfg --extra dev --universal --python-version 3.11 --upgrade --quiet -o requirements.lock

clean:
	rm -rf $(VENV) cache output mlruns mlflow.db*
