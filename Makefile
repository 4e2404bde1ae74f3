# Everything a user or a developer runs. `make demo` and `make test` work in a fresh clone with Python ≥ 3.11 alone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint types contracts check crosscheck crosscheck-scalesim crosscheck-zigzag base-model clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make .venv from exactly pinned dependencies

$(VENV)/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11 " + "setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ax,clip,data,dev,hf,nsga2,onnx,search,vit]'
	@touch $@

demo: setup ## search the embedded study, offline, and write its report (minutes on two cores)
	$(BIN)/catransformers demo --out $(OUT)

test: setup ## the test suite
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: setup ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 3000

lint: setup ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy

contracts: setup ## who may import whom
	$(BIN)/lint-imports

check: lint types contracts test ## all of the above

crosscheck: setup $(addsuffix /.ready,.venv-scalesim .venv-zigzag) ## the hardware model against SCALE-Sim and ZigZag (minutes)
	CATRANSFORMERS_CROSSCHECK=required $(BIN)/python -m pytest -m crosscheck --timeout 1500 tests/crosscheck

crosscheck-scalesim crosscheck-zigzag: crosscheck-%: setup .venv-%/.ready ## one of the two
	CATRANSFORMERS_CROSSCHECK=required $(BIN)/python -m pytest -m crosscheck --timeout 1500 tests/crosscheck/test_crosscheck_$*.py

.venv-%/.ready: tools/crosscheck/requirements-%.txt
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

base-model: setup ## train the embedded base model again (about 20 minutes on two cores)
	$(BIN)/python tools/train_base_model.py

clean: ## remove the environment, caches and runs
	rm -rf $(VENV) .venv-scalesim .venv-zigzag .mypy_cache .pytest_cache .ruff_cache .hypothesis runs
