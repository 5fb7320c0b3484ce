.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Half of the time goes by waiting for processes that tests start.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; try make PYTHON=python3.11")'
	@echo "Setting up $(VENV); PyTorch takes a few minutes."
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) torch torchvision
	$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(INSTALL) -e '.[$*]'
	@touch $@

.PHONY: demo
demo: $(VENV)/installed ## Cluster 1,797 handwritten digits, a minute or two
	$(BIN)/python recipes/digits.py

.PHONY: test
test: $(VENV)/installed ## Run the quick tests
	$(BIN)/python -m pytest -m 'not slow' $(PARALLEL)

.PHONY: test-all
test-all: $(VENV)/installed $(VENV)/installed-bench ## Run all tests: the slow ones, and many more generated cases
	HADIS_TEST_PROFILE=long $(BIN)/python -m pytest $(PARALLEL)

# Tools that want older packages than constraints.txt has.
.venv-doors/installed: setup.cfg tests/formats/constraints.txt
	$(PYTHON) -m venv --clear .venv-doors
	.venv-doors/bin/python -m pip install --quiet --disable-pip-version-check \
		-c tests/formats/constraints.txt -e '.[doors,onnx]' pytest hypothesis
	@touch $@

.PHONY: test-doors
test-doors: .venv-doors/installed ## Test the formats with FiftyOne, Lightly Studio, ... themselves
	.venv-doors/bin/python -m pytest tests/formats

.PHONY: lint
lint: $(VENV)/installed ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: type-check
type-check: $(VENV)/installed ## Check types, strictly
	$(BIN)/mypy

.PHONY: docs
docs: $(VENV)/installed-docs ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: bench
bench: $(VENV)/installed-bench ## Run all benchmarks, on a GPU if there is one
	for name in kmeans embedding views losses step throughput profile_step; do \
		$(BIN)/python benchmarks/speed/$$name.py || exit 1; \
	done
	$(BIN)/python benchmarks/quality/compare.py

.PHONY: build
build: $(VENV)/installed ## Build the wheel into dist/
	$(BIN)/python -m build

.PHONY: clean
clean: ## Remove the environment and all that was built
	rm -rf $(VENV) .venv-doors build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache
