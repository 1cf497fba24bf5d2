# Two commands matter: `make demo` and `make test`. Paths are relative, so a space in the clone's path does no harm.
.PHONY: help install install-test demo check test test-long format

PORT ?= 8000
WORKERS ?= 2
PYTEST ?=
BIN = .venv/bin/python
SOURCES = config advisors portfolios margin alerts tests manage.py
# The recipe's process replaces its shell and watches make, so that it also ends when only make is killed.
SUPERVISOR = exec $(BIN) -m config.supervisor --parent $$PPID

help:
	@echo 'make demo       all of Bulkhead with two demo firms, until Ctrl-C (PORT=8000)'
	@echo 'make test       format, lint, types, contracts, and all tests but the long ones'
	@echo 'make test-long  the long tests: soak, corpus, crashes'
	@echo 'make check      lint, types and contracts only'
	@echo 'make format     put the format right'
	@echo 'make install    the packages of the demo into .venv (the other targets do this themselves)'

install:
	@sh config/supervisor/install.sh requirements.lock

install-test: install
	@sh config/supervisor/install.sh requirements-dev.lock

demo: install
	@$(SUPERVISOR) demo --port $(PORT)

check: install-test
	@echo 'format, lint' && $(BIN) -m ruff format --check --quiet --output-format concise $(SOURCES) && $(BIN) -m ruff check --quiet --output-format concise $(SOURCES)
	@echo 'templates' && $(BIN) -m djlint --check --lint --quiet templates
	@echo 'types' && $(BIN) -m mypy --no-error-summary $(SOURCES)
	@echo 'contracts' && said=$$($(BIN) -c 'from importlinter.cli import lint_imports_command as lint; lint()' 2>&1) || \
		{ echo "$$said"; exit 1; }
	@echo 'dependencies' && said=$$($(BIN) -m deptry --no-ansi . 2>&1) || { echo "$$said"; exit 1; }

test: check
	@echo 'migrations' && DJANGO_SETTINGS_MODULE=tests.settings $(BIN) -W ignore manage.py makemigrations --check --dry-run
	@CHROMIUM=$$(sh config/supervisor/chromium.sh) && export CHROMIUM && \
		$(SUPERVISOR) run -- $(BIN) -m pytest -m 'not long' -n $(WORKERS) $(PYTEST)

test-long: install-test
	@CHROMIUM=$$(sh config/supervisor/chromium.sh) && export CHROMIUM && \
		$(SUPERVISOR) run -- $(BIN) -m pytest -m long $(PYTEST)

format: install-test
	@$(BIN) -m ruff check --select I --fix --quiet $(SOURCES)
	@$(BIN) -m ruff format $(SOURCES)
	@$(BIN) -m djlint --reformat --quiet templates
