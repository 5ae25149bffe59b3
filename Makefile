# `make run` and `make test` do all set-up on a fresh machine. Only Python 3.11 or later (with venv) and make are needed.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test check format clean

run: $(INSTALLED)  ## evolve a spiking network on Brax Hopper, show what it learned
	$(BIN)/python -m trainers.ec --env Hopper
	$(BIN)/python -m trainers.evaluate $$(ls -td runs/ec/BraxHopper-v0_* | head -1) --episodes 16 --video runs/hopper.mp4

test: $(INSTALLED)  ## style, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) build dist *.egg-info
