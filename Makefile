# make test and make demo are all there is to remember; both set up .venv by themselves.
# PYTHON=… names the Python to use; otherwise scripts/find_python.sh finds or fetches one
VENV := .venv
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs
RUN := . $(VENV)/bin/activate &&
CHECKS := ruff check . && ruff format --check . && mypy
# two processes, each with whole files of tests, so that what a file shares is made once
PYTEST := OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadfile

.PHONY: test test-all docs demo lecture benchmark lint clean

test: $(READY)
	$(RUN) $(CHECKS) && $(PYTEST) -m "not slow" tests

test-all: $(READY)
	$(RUN) $(CHECKS) && $(PYTEST) tests

# a link that leads nowhere is an error, and so is a script, style or picture that a reader would fetch from another host
docs: $(DOCS)
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	! grep -rnoE '<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//[^ >]*' site --include='*.html'

demo: $(READY)
	$(RUN) exec python -m scripts.demo

# figures, tables and slides, from the code and recorded runs; LECTURE=--missing-ok where some are not recorded
lecture: $(READY)
	$(RUN) exec python -m examples.lecture $(LECTURE)

# decode is left out, since it needs a checkpoint and data: python -m scripts.benchmark decode CHECKPOINT DATA
benchmark: $(READY)
	$(RUN) python -m pip install --quiet ctranslate2
	$(RUN) for part in train peers memory; do python -m scripts.benchmark $$part || exit 1; done

lint: $(READY)
	$(RUN) ruff check --fix . && ruff format .

# fairseq builds against the torch and numpy that are there, hence the order and --no-build-isolation
$(READY): Makefile setup.py scripts/find_python.sh
	python=$$(sh scripts/find_python.sh $(PYTHON)) && "$$python" -m venv $(VENV)
	$(RUN) python -m pip install --quiet "torch==2.13.0" "numpy>=2,<3" cython wheel setuptools
	$(RUN) python -m pip install --quiet --no-build-isolation --editable ".[test]"
	touch $(READY)

$(DOCS): $(READY)
	$(RUN) python -m pip install --quiet --no-build-isolation --editable ".[docs]"
	touch $(DOCS)

clean:
	rm -rf $(VENV) demo lecture outputs site
