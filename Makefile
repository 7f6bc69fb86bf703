# `make run` and `make test` are all a newcomer needs; both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench docs translations format clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	touch $@

run: $(VENV)/.installed  ## the demo: bridge, simulated Moodle, university CAS, mailbox
	$(BIN)/lms-bridge demo

test: $(VENV)/.installed  ## everything that can run on this machine
	$(BIN)/pytest --numprocesses 2 --dist loadgroup

check: $(VENV)/.installed  ## format, lint, types, import rules, links, translations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/check_links.py

docs: $(VENV)/.installed  ## write the generated reference pages again
	$(BIN)/python docs/generate_settings_reference.py
	$(BIN)/python docs/generate_cli_reference.py
	$(BIN)/python docs/generate_conformance.py

translations: $(VENV)/.installed  ## collect the texts to translate into the French catalogue
	$(BIN)/python -m lms_bridge.i18n

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

bench: $(VENV)/.installed  ## measure; see docs/reference/performance.md
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
