# Needs make and a Python from 3.11 on (`make PYTHON=...` says which). Everything else goes into .venv in this folder.
# ARGS are handed on: make demo ARGS=--once, make test ARGS="-s tests -- -k socks5".

PYTHON ?= python3

.PHONY: help demo test setup clean
.NOTPARALLEL:

help:
	@echo "make demo    run the main job on embedded servers"
	@echo "make test    run every check"
	@echo "make setup   set up .venv with outline-lb and all plugins; ARGS=--dev: and the tools that the checks need"
	@echo "make clean   remove .venv and all that the checks leave behind"

demo:
	@$(PYTHON) contrib/bootstrap.py
	@.venv/bin/outline-lb demo $(ARGS)

test:
	@$(PYTHON) contrib/bootstrap.py --dev
	@.venv/bin/nox $(ARGS)

setup:
	@$(PYTHON) contrib/bootstrap.py $(ARGS)

clean:
	rm -rf .venv .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
	find core schemas plugins tests contrib -name __pycache__ -prune -exec rm -rf {} +
