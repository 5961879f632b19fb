# Two commands do everything: `make demo` and `make test`. Both install what they need.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test interop install system lint clean
.DEFAULT_GOAL := demo

# Live calls on an emulated network, moved to the edge and back; then the replay of a recorded call that the project
# carries. Where a machine allows no network namespaces (exit status 2), the reason is said and only the latter is shown.
demo: install system
	$(BIN)/ferret demo --calls 2 || test $$? -eq 2
	@echo
	$(BIN)/ferret replay tests/data/volte-call-full.pcap

# Everything: unit, property, procedure and interoperability tests, ruff, strict mypy.
test: install system
	$(BIN)/python -m pytest

# FERRET against programs that others wrote; docs/interoperability.md is written anew.
interop: install system
	$(BIN)/python -m pytest tests/interop --write-interoperability

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "FERRET needs Python 3.11 or later; set PYTHON=…"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=23.2'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast]' || echo "uvloop does not install here: asyncio's own loop is used"
	@touch $(STAMP)

# Debian packages: libusrsctp (S1AP over SCTP where the kernel has none), tshark (the tests' independent decoder), and
# the peers of the interoperability tests. The script says which.
system:
	@VENV=$(VENV) sh deploy/install-system-packages

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis
