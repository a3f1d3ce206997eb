# foodvision: `make demo` to see it work, `make test` to check everything, `make help` for the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test notebooks measures versions kills benchmarks food101 setup docs export browser clean

# The first Python on this machine that TensorFlow has wheels for and that can make a virtual environment.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
RUN ?= runs/demo
# TensorFlow's start-up lines bury what a command has to say.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, each process would compile all of TensorFlow anew: the installation leaves that to the first import.
unexport PYTHONDONTWRITEBYTECODE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed-demo  ## train both stages on the drawn sample, evaluate, write a report (no network but the package index)
	.venv/bin/foodvision train --recipe quick --data sample --backbone EfficientNetLite0 --run $(RUN) --overwrite --no-evaluate
	.venv/bin/foodvision evaluate $(RUN)
	@echo; echo "The report: $(RUN)/report/report.html"

# First every notebook, then the tests, two files at a time; PYTEST_ARGUMENTS adds options. The sample is drawn once for all.
test: .venv/installed-dev browser  ## every check there is: notebooks, package, commands, site; closes on pytest's summary
	cache=$$(mktemp -d); trap 'rm -rf "$$cache"' EXIT; \
	sample=$$(XDG_CACHE_HOME="$$cache" .venv/bin/python -c 'from foodvision.drawing import sample_directory as s; print(s())'); \
	XDG_CACHE_HOME="$$cache" $(RUN_NOTEBOOKS); \
	FOODVISION_SAMPLE="$$sample" .venv/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGUMENTS)

# Without a network: a request to any other host fails at once.
NOWHERE = http://127.0.0.1:9
RUN_NOTEBOOKS = HTTP_PROXY=$(NOWHERE) HTTPS_PROXY=$(NOWHERE) http_proxy=$(NOWHERE) https_proxy=$(NOWHERE) \
	NO_PROXY=localhost,127.0.0.1,::1 no_proxy=localhost,127.0.0.1,::1 PATH="$$PWD/.venv/bin:$$PATH" nbdev_test
notebooks: .venv/installed-dev  ## run every notebook from top to bottom, with an empty cache
	cache=$$(mktemp -d); trap 'rm -rf "$$cache"' EXIT; XDG_CACHE_HOME="$$cache" $(RUN_NOTEBOOKS)

measures: .venv/installed-dev  ## how readable the notebooks are, in numbers, and where they fall short
	.venv/bin/python -m tests.measures

# With other versions: SET=oldest or colab (tests/versions.py). These tests need nbdev and what goes with it.
SET ?= colab
ENVIRONMENT ?= .venv-$(SET)
NEED_NBDEV = github notebooks package site sources
versions:  ## the tests that need no nbdev, with the oldest versions or with Google Colab's (SET=oldest, PYTHON=python3.13)
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(PYTHON) tests/versions.py $(SET) > $(ENVIRONMENT)/versions.txt
	$(ENVIRONMENT)/bin/pip install --quiet --no-compile --constraint $(ENVIRONMENT)/versions.txt --editable '.[test,offline,export,app,audit]'
	$(ENVIRONMENT)/bin/python -m pytest -n 2 --dist loadfile $(NEED_NBDEV:%=--ignore=tests/test_%.py) $(PYTEST_ARGUMENTS)

kills: .venv/installed-dev  ## kill a training 100 times at random moments, resume it, compare every bit (about half an hour)
	FOODVISION_KILLS=100 .venv/bin/python -m pytest tests/test_resume.py -k random_moments

# Real photos give the figures of the documentation; PEERS is the Python of an environment with benchmarks/requirements.txt.
DATA ?= sample
PEERS ?=
benchmarks: .venv/installed-dev  ## measure everything again into benchmarks/results (DATA=photos, PEERS=python with PyTorch; an hour)
	for name in startup stage1 pipeline growth peers recipe ablation; do \
		options="--data $(DATA) --out benchmarks/results"; \
		[ $$name = peers ] && [ -n "$(PEERS)" ] && options="$$options --python $(PEERS)"; \
		.venv/bin/foodvision bench $$name $$options || exit 1; done
	.venv/bin/foodvision train --overwrite --recipe quick --data $(DATA) --backbone EfficientNetLite0 --run runs/benchmarks/run
	.venv/bin/foodvision bench prediction runs/benchmarks/run --out benchmarks/results

# The classifier that comes with the package, from photos to the folder that ships. Every choice stands in CONFIG; what was
# interrupted goes on where it stopped when the same line is given again.
CONFIG ?= recipes/food101.json
FOOD101_RUN ?= runs/food101
FOOD101_OUT ?= foodvision/pretrained/food101
food101: .venv/installed-dev  ## train, measure and pack the model `food101` (DATA=a folder with food-101 in it, CONFIG=recipes/food101.json)
	[ "$(DATA)" != sample ] || { echo "Say where the photos are: make food101 DATA=FOLDER" >&2; exit 2; }
	if [ ! -e $(FOOD101_RUN)/config.json ]; then \
		.venv/bin/foodvision train --recipe $(CONFIG) --data $(DATA) --run $(FOOD101_RUN) --no-evaluate; \
	elif [ ! -e $(FOOD101_RUN)/model.keras ]; then .venv/bin/foodvision train --resume $(FOOD101_RUN) --no-evaluate; fi
	.venv/bin/foodvision evaluate $(FOOD101_RUN)
	.venv/bin/foodvision export $(FOOD101_RUN) --format compact --data $(DATA) --out $(FOOD101_OUT)

setup: .venv/installed-dev  ## what a contributor needs: the environment, and git's hooks for notebooks
	.venv/bin/nbdev_install_hooks
	@echo "Ready. Activate it with: source .venv/bin/activate"

export: .venv/installed-dev  ## notebooks -> foodvision/*.py, and clean the notebooks
	PATH="$$PWD/.venv/bin:$$PATH" nbdev_export
	PATH="$$PWD/.venv/bin:$$PATH" nbdev_clean

docs: .venv/installed-dev  ## the site in _site/ and README.md, without Quarto
	.venv/bin/python -m documentation.build

# The site's tests look at the pages in a headless Chromium. Where there is none and this is a Debian machine's
# root, it is installed; elsewhere those tests are skipped and say so.
browser:
	@.venv/bin/python tests/chromium.py --install

clean:  ## remove what was built (the environment and your runs stay)
	rm -rf build dist _site _proc _docs foodvision.egg-info .pytest_cache .hypothesis .ruff_cache

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "foodvision needs Python 3.11, 3.12 or 3.13 with its venv module. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Editable, so that a change in the sources needs no new installation; a change in the requirements does. Python compiles
# what is imported when it first is: pip would compile all of TensorFlow while one waits.
.venv/installed-demo: .venv/bin/python settings.ini setup.py
	.venv/bin/pip install --no-compile --editable '.[offline]'
	@touch $@

.venv/installed-dev: .venv/bin/python settings.ini setup.py
	.venv/bin/pip install --no-compile --editable '.[dev,offline,export,app,audit]'
	@touch $@ .venv/installed-demo
