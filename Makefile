# `make demo` and `make test` on a machine with Python, pip, make and g++: all set-up happens in .venv/, nothing else is
# touched, a second run finds everything done. In a shell where a ROS 2 is sourced, that ROS is used.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
# Arguments for pip in the place of the choice between PyTorch's CPU and CUDA builds: make demo TORCH="--index-url ..."
TORCH ?=
# Arguments for pytest: make test ARGS="test/geometry -x"
ARGS ?=
# A recording for the demo: make demo BAG=path
BAG ?=

VENV := .venv
BIN := $(VENV)/bin
ROS := $(shell [ -n "$${ROS_DISTRO:-}" ] && "$(PYTHON)" -c 'import rclpy' 2>/dev/null && echo sourced || echo wheels)
STAMPS := $(VENV)/stamps/$(ROS)
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Files of tests share the processor's cores. Tests of a ROS graph measure time, so they run alone, after the others.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
export PIP_USER := 0

ifeq ($(ROS),sourced)
VENV_FLAGS := --system-site-packages
CONSTRAINTS := $(STAMPS)/constraints.txt
else
VENV_FLAGS :=
CONSTRAINTS := tools/constraints.txt
endif

.PHONY: help demo test test-quick test-nightly lint docs setup clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## /  make \1\t/p' Makefile | expand -t 22
	@echo "  options: PYTHON=python3.12, TORCH='pip arguments', make demo BAG=path, make test ARGS='test/geometry -x'"

demo: $(STAMPS)/demo $(STAMPS)/links  ## the whole chain on a rendered recording (or BAG=path), ending in a report
	@$(BIN)/featdepth demo $(if $(BAG),"$(BAG)")

test: $(STAMPS)/test lint  ## ruff, mypy, pytest with coverage
ifeq ($(ARGS),)
	@passed=true; \
	$(PYTEST) -m "not ros" $(PARALLEL) --cov --cov-report= || passed=false; \
	$(PYTEST) -m ros --cov --cov-append --cov-report= || passed=false; \
	$$passed
else
	@$(PYTEST) --cov --cov-report= $(ARGS)
endif
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of the lines"

test-quick: $(STAMPS)/test $(STAMPS)/links  ## tests that need neither a ROS graph nor a training; under two minutes
	@$(PYTEST) -m "not slow and not ros" $(PARALLEL) $(ARGS)

test-nightly: $(STAMPS)/nightly lint  ## everything, with soaks, long trainings and property tests at full count
	@FEATDEPTH_NIGHTLY=1 $(PYTEST) $(ARGS)

lint: $(STAMPS)/test $(STAMPS)/links  ## ruff and mypy
	@$(BIN)/ruff format --check -q . || { echo "some files are not formatted: run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: $(STAMPS)/docs  ## the documentation site, into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

setup: $(STAMPS)/demo $(STAMPS)/links  ## .venv/ with everything the demo needs, and no more
	@echo "ready: $(BIN)/featdepth --help"

clean:  ## remove .venv/ and everything built
	rm -rf $(VENV) build install log dist site .coverage *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv: tools/check_machine.py
	@command -v "$(PYTHON)" > /dev/null || { echo "this machine lacks Python 3.10 or later: '$(PYTHON)' was not found" >&2; exit 1; }
	@"$(PYTHON)" tools/check_machine.py --ros $(ROS)
	@# An environment made for the other kind of ROS is of no use; one made by hand is left as it is.
	@if [ -d $(VENV)/stamps ] && [ ! -d $(STAMPS) ]; then rm -rf $(VENV); fi
	@[ -x $(BIN)/python ] || { echo "setting up $(VENV)/ with $$("$(PYTHON)" --version), ROS 2: $(ROS)"; "$(PYTHON)" -m venv $(VENV_FLAGS) $(VENV); }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/constraints.txt: $(STAMPS)/venv tools/keep_found.py
	@$(BIN)/python tools/keep_found.py > $@

$(STAMPS)/torch: $(STAMPS)/venv $(CONSTRAINTS) tools/install_torch.sh
	@$(PIP) install -q -c $(CONSTRAINTS) pip setuptools wheel
	@echo "installing PyTorch ..."
	@tools/install_torch.sh $(BIN)/python $(CONSTRAINTS) $(TORCH)
	@touch $@

$(STAMPS)/ros: $(STAMPS)/torch $(wildcard tools/bare_ros/*.* tools/bare_ros/tf2_msgs/*.* tools/bare_ros/tf2_msgs/msg/*)
ifeq ($(ROS),wheels)
	@echo "installing the ROS 2 wheels ..."
	@$(PIP) install -q -c $(CONSTRAINTS) -r tools/bare_ros/requirements.txt
	@$(BIN)/python tools/bare_ros/build_tf2_msgs.py
endif
	@touch $@

$(STAMPS)/demo: $(STAMPS)/ros setup.py
	@echo "installing featdepth_ros ..."
	@$(PIP) install -q -c $(CONSTRAINTS) --no-build-isolation -e ".[recordings,simulation,plots]"
	@touch $@

$(STAMPS)/test: $(STAMPS)/ros setup.py
	@echo "installing featdepth_ros and what its tests need ..."
	@$(PIP) install -q -c $(CONSTRAINTS) --no-build-isolation -e ".[all]"
	@touch $(STAMPS)/demo $@

$(STAMPS)/nightly: $(STAMPS)/test
	@$(PIP) install -q -c $(CONSTRAINTS) --no-build-isolation -e ".[nightly]"
	@touch $@

$(STAMPS)/docs: $(STAMPS)/venv setup.py
	@$(PIP) install -q -c tools/constraints.txt mkdocs-material
	@touch $@

# An editable install brings no share/ and lib/: links, made anew when a file comes or goes.
$(STAMPS)/links: $(STAMPS)/venv tools/link_prefix.py package.xml resource $(shell find launch config -type d)
	@$(BIN)/python tools/link_prefix.py
	@touch $@
