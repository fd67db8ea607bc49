# make test and make demo are all there is to remember; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := . $(VENV)/bin/activate &&

.PHONY: test test-all demo benchmark lint clean

test: $(READY)
	$(RUN) ruff check . && ruff format --check . && python -m pytest -q -m "not slow" tests

test-all: $(READY)
	$(RUN) ruff check . && ruff format --check . && python -m pytest -q tests

demo: $(READY)
	$(RUN) python -m scripts.demo

# decode is left out, since it needs a checkpoint and data: python -m scripts.benchmark decode CHECKPOINT DATA
benchmark: $(READY)
	$(RUN) python -m pip install --quiet ctranslate2
	$(RUN) for part in train peers memory; do python -m scripts.benchmark $$part || exit 1; done

lint: $(READY)
	$(RUN) ruff check --fix . && ruff format .

# fairseq builds against the torch and numpy that are there, hence the order and --no-build-isolation
$(READY): Makefile requirements.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "make needs Python 3.11 or 3.12: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) python -m pip install --quiet "torch==2.13.0" "numpy<3" cython wheel setuptools
	$(RUN) python -m pip install --quiet --no-build-isolation --no-deps fairseq-fixed==0.12.3.1
	$(RUN) python -m pip install --quiet -r requirements.txt
	$(RUN) python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $(READY)

clean:
	rm -rf $(VENV) demo outputs
