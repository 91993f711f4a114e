# `make demo` and `make test` are all you need; each makes .venv first when it is absent.
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/.installed
export PATH := $(abspath $(BIN)):$(PATH)
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo site test test-notebooks test-browser test-slow lint lab docs export clean-notebooks readme workshop screenshots figures bench soak mutants release kit

help:             ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

$(STAMP): settings.ini setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/rs_zeroseg fetch text
	@touch $@

demo: $(STAMP)    ## a scene, seven words, a map: written to out/demo
	rs_zeroseg demo --out out/demo

site: $(STAMP)    ## the explorer as a page that runs the model in the browser: out/site (needs npm)
	python tools/site.py --out out/site

# Every notebook runs once, over the package. That it is the package of these notebooks is tested in tests/test_repo.py
# (test_export_in_sync), so their own export cells need no second run. The last line is pytest's summary.
test: $(STAMP)    ## notebooks, pytest, line coverage over both; two processes each
	python tools/coverage_notebooks.py
	python -m pytest tests --ignore tests/browser -q --numprocesses 2 --dist worksteal --durations=5 --cov --cov-append

test-notebooks: $(STAMP)    ## the notebooks alone, by nbdev's own command
	nbdev_test --n_workers 2 --timing

test-browser: $(STAMP)    ## the explorers in JupyterLab and as a page, driven in Chromium; screenshots in out/browser
	$(BIN)/python -m pip install --quiet "playwright>=1.45,<2"
	command -v chromium chromium-browser google-chrome > /dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium > /dev/null; } || { echo "no Chromium here: install it and run this again"; exit 1; }
	python -m pytest tests/browser -q

test-slow: $(STAMP)    ## the notebook cells marked slow, too
	nbdev_test --n_workers 2 --timing --flags slow

# SOAK_KILLS of train, pretrain and segment; TWO_RUNS pairs of segment with one --out; INTERRUPTS of every command
soak: $(STAMP)    ## long checks: kills, Ctrl-C, 30 min of random events, ONNX on 20 images, 20,000 x 20,000 pixels, the offline kit
	KIT=1 LARGE_PX=20000 SOAK_KILLS=20 TWO_RUNS=20 INTERRUPTS=5 EVENT_SECONDS=1800 EXPORT_IMAGES=20 python -m pytest tests/test_soak.py tests/test_trust_runs.py tests/test_trust_interrupt.py tests/test_events.py tests/test_export.py tests/test_kit.py tests/test_raster.py::test_memory_does_not_grow_with_the_raster -q -rP

mutants: $(STAMP)    ## plant about a hundred faults in a copy, one at a time, and list those that no test notices (15 min)
	python tools/mutants.py

lint: $(STAMP)    ## ruff over notebooks and scripts, basedpyright over the package
	ruff check
	basedpyright --level error

lab: $(STAMP)     ## JupyterLab on the notebooks
	jupyter lab nbs

docs: $(STAMP)    ## the documentation site, in out/docs/_build/html: warnings and dead links are errors (2 min)
	$(BIN)/python -c "import jupyter_book, latex2mathml" 2> /dev/null || $(BIN)/python -m pip install --quiet --editable ".[docs]"
	python tools/docs.py

export: $(STAMP)  ## notebooks -> package
	nbdev_export

clean-notebooks: $(STAMP)    ## strip what a run leaves behind
	nbdev_clean

readme: $(STAMP)  ## nbs/index.ipynb -> README.md
	python tools/readme.py

workshop: $(STAMP)    ## the lessons -> participants' notebooks; out/workshop: instructor's notebooks, slides, hand-outs
	python tools/workshop.py

screenshots: test-browser    ## the widgets as the browser tests saw them -> nbs/screenshots
	python tools/screenshots.py

figures: $(STAMP) ## the tables of the ledger and the notebooks' figures -> figures/
	python tools/figures.py

bench: $(STAMP)   ## parameters and multiply-adds of the presets; speed and memory on a large raster, of a query, of all methods (15 min)
	rs_zeroseg budget --preset pocket
	rs_zeroseg budget --preset paper
	rs_zeroseg bench raster
	rs_zeroseg bench query
	rs_zeroseg bench models

release: $(STAMP) ## sdist and wheel into dist/; tried in two new environments outside the checkout
	python tools/release.py

kit: $(STAMP)     ## everything for a room without network, one archive for this platform: out/kit (packs out/docs, too, if `make docs` was run)
	python tools/kit.py
