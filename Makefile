# Everything that a fresh machine needs: Python 3.11 to 3.13, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN := $(BIN)/python
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check format bench docs clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make .venv and install the pinned versions

# A marker file written last: an install that was interrupted is done again.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,onnx,endpoint,faces,timm,dashboards,mlflow,wandb]'
	touch $(INSTALLED)

demo: $(INSTALLED) ## audit a recognizer of made-up faces; ends with the report's place and its headline
	$(RUN) jobs/audit.py jobs/recipes/demo.yaml

test: $(INSTALLED) check ## formatter, linter, type checker and all tests but the slow ones
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadgroup

test-slow: $(INSTALLED) ## the slow tests
	$(RUN) -m pytest -m slow

check: $(INSTALLED) ## formatter, linter, strict type checker
	$(BIN)/ruff format --check --quiet --no-cache .
	$(BIN)/ruff check --quiet --no-cache .
	$(BIN)/mypy

format: $(INSTALLED) ## let the formatter and the linter mend what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## the benchmarks: ratios, not seconds
	$(RUN) -m benchmarks.attacks
	$(RUN) -m benchmarks.peers --quick --bound
	$(RUN) -m benchmarks.gradient_estimates
	$(RUN) -m benchmarks.fanout
	$(RUN) -m benchmarks.scaling
	$(RUN) -m benchmarks.training_workers
	$(RUN) -m benchmarks.sweep

docs: $(INSTALLED) ## build the documentation as a site: build/docs/index.html
	$(RUN) -m sphinx -q -W --keep-going -b html docs build/docs

clean: ## remove the environment and the caches; results in runs/ stay
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
