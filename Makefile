# make demo and make test do everything, on a machine that has only Python and a C++ compiler.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test check bench setup clean

help:
	@echo "make demo    train, score and use a sentiment model on real film reviews"
	@echo "make test    run the default tests"
	@echo "make check   format, lint, types, import rules, generated files"
	@echo "make bench   install the peers (3 GB), then measure the layer beside them"
	@echo "make setup   only create .venv, with everything that the above need"
	@echo "make clean   remove .venv and what was built"
	@echo "PYTHON=python3.12 make setup uses another Python"

demo: $(INSTALLED)
	$(BIN)/holdfast demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m holdfast.cells.print_code --check
	$(BIN)/python -m pytest -q tests/architecture

bench: $(INSTALLED)
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/run.py

setup: $(INSTALLED)

# Two names for the same constraints: pip 25.3 and later read the second one for the build of the core.
$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt src/holdfast/_version.py $(shell find csrc -type f)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --disable-pip-version-check -e '.[all]'
	touch $@

clean:
	rm -rf .venv build
