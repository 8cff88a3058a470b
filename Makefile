# memtop: `make demo` to see it, `make test` to trust it. `make` alone lists the rest.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py memtop/native/build.py $(wildcard memtop/native/*.[ch])
CODE := memtop tests benchmarks harm tools setup.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint strict asan restricted test-kernels harm bench screenshots wheel format clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -ts'|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/run.stamp ## the live screen on a built-in workload
	@$(BIN)/memtop demo

test: $(VENV)/dev.stamp ## all tests
	@$(BIN)/pytest -n $(JOBS)

check: lint strict asan test ## the gate: format, lint, types, layers, C warnings, sanitizers, all tests

lint: $(VENV)/dev.stamp ## format, lint, types and layers
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

strict: $(VENV)/dev.stamp ## the C core, warnings as errors
	@MEMTOP_STRICT_C=1 $(BIN)/python setup.py --quiet build_ext --inplace --force

asan: $(VENV)/dev.stamp ## the C core's own tests under ASan and UBSan
	@$(BIN)/pytest tests/c

restricted: $(VENV)/dev.stamp ## the tests of real processes again where the kernel gives less
	@$(CC) -O2 -pthread tests/targets/sandbox.c -o $(VENV)/sandbox
	@for less in "userfaultfd ptrace process_vm_readv pidfd_getfd" pagemap; do echo "== without $$less"; \
	  $(VENV)/sandbox $$less -- $(BIN)/pytest -n $(JOBS) tests/unit tests/linux tests/pty || exit; done

test-kernels: $(VENV)/dev.stamp ## real processes inside guests with Debian's 5.10, 6.1 and 6.12 (writes docs/kernels.md)
	@$(BIN)/python tools/guests.py $(KERNELS)

harm: $(VENV)/dev.stamp ## 12 700 injections, memtop or its injector killed on the way (in pieces: HARM='--minutes 9')
	@$(BIN)/python -m harm $(HARM)

bench: $(VENV)/dev.stamp ## compare a tick with what people use today
	@for b in benchmarks/[a-z]*.py; do echo "== $$b"; $(BIN)/python $$b || exit; done

screenshots: $(VENV)/dev.stamp ## new pictures of real runs in screenshots/
	@$(BIN)/python tools/screenshots.py

wheel: $(VENV)/dev.stamp ## an abi3 wheel in dist/, tried with every Python from 3.10 on found here
	@rm -rf build dist
	@$(BIN)/python -m build --wheel >build.log 2>&1 || { cat build.log; rm build.log; exit 1; }
	@rm build.log
	@$(BIN)/python tools/try_wheel.py dist/*.whl

format: $(VENV)/dev.stamp ## let ruff format and mend
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

clean: ## remove all that was made, the virtual environment too
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -f memtop/native/_core.c memtop/native/*.so memtop/native/*.o
	find $(CODE) -name __pycache__ -type d -exec rm -rf {} +

# What `make demo` needs, and what the rest needs; both build the C core.
$(VENV)/run.stamp: $(SOURCES)
	@tools/preflight $(PYTHON)
	@echo "Setting up $(VENV) (once)…"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --editable .
	@touch $@

$(VENV)/dev.stamp: $(SOURCES)
	@tools/preflight $(PYTHON)
	@echo "Setting up $(VENV) for development (once)…"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --editable '.[dev]'
	@touch $(VENV)/run.stamp $@
