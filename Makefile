# One command each; every target sets .venv up first, once.
PYTHON ?= python3
ARGS ?=
VENV = .venv/bin/python
export PYTHON

.PHONY: help lab notebooks test check bench clean

help:
	@echo "make lab        the live page with traffic flowing   (ARGS='fan-out --port 8080')"
	@echo "make notebooks  JupyterLab on notebooks/"
	@echo "make test       every check and every test, with the browser and the notebooks"
	@echo "make check      format, lint, types, floors, fast tests"
	@echo "make bench      what mqviz itself costs on this machine"
	@echo "make clean      remove .venv and caches; runs are kept"

lab:
	@scripts/setup lab
	@$(VENV) -m mqviz.cli lab $(ARGS)

notebooks:
	@scripts/setup notebooks
	@$(VENV) -m jupyterlab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test:
	@scripts/setup test
	@scripts/chromium
	@PYTHON=$(VENV) scripts/check all $(ARGS)

check:
	@scripts/setup test
	@PYTHON=$(VENV) scripts/check

bench:
	@scripts/setup test
	@for file in benchmarks/*.py; do echo "== $$file"; $(VENV) $$file $(ARGS) || exit 1; done

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find mqviz tests benchmarks notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
