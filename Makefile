# One command from a bare machine to labeled images: `make demo`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Set by the ROS wheels in each Python that they start; it would keep another environment's Python from finding its libraries.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
# A domain of this run's own: nothing meets another run. Above 101 the ports collide with those that Linux hands out.
ifndef ROS_DOMAIN_ID
export ROS_DOMAIN_ID := $(shell shuf -i 1-101 -n 1)
endif

# The distribution that wheels bring where no ROS 2 is sourced: make test ROS_DISTRO=jazzy
ifdef ROS_DISTRO
export ROS_DISTRO
endif
# (A variable of the command line does not reach $(shell ...) by itself.)
SUFFIX := $(shell ROS_DISTRO='$(ROS_DISTRO)'; . tools/workspace.sh && echo $$SUFFIX)

PYTHON ?=
SOURCE ?=
DEMO_ARGS ?=
TEST_ARGS ?=
EFFORT ?= 1
MINUTES ?= 10
FUZZ_SECONDS ?= 60
MUTANTS ?= 60
export PYTHON

# The built workspace and its environment, for a recipe's shell.
ENTER = . .venv$(SUFFIX)/bin/activate && . install$(SUFFIX)/local_setup.bash

.PHONY: help demo env build test faults soak fuzz coverage mutants lint docs licenses clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

env: ## Make the Python environment in .venv, on the ROS 2 that is sourced, else on wheels (ROS_DISTRO=kilted or jazzy)
	@tools/setup_env.sh

build: env ## Build the ROS package into install/
	@tools/build.sh

demo: build ## Segment a camera over DDS, write demo_output/ (SOURCE=folder or video, DEMO_ARGS=...)
	@$(ENTER) && erfnet demo --out demo_output $(if $(SOURCE),--source "$(SOURCE)") $(DEMO_ARGS)
	@echo; echo "To run erfnet yourself, enter this environment:"; echo "  $(ENTER)"; echo "  erfnet --help"

test: build ## Run the tests (TEST_ARGS=...)
	@$(ENTER) && $(if $(TEST_ARGS),python -m pytest $(TEST_ARGS),tools/test.sh)

faults: build ## Run every fault against the real node, and print what became of it (EFFORT=1)
	@$(ENTER) && PYTHONPATH=test:$$PYTHONPATH python tools/faults.py --effort $(EFFORT)

soak: build ## Run the node at 30 Hz through random faults, write soak_output/ (MINUTES=10)
	@$(ENTER) && PYTHONPATH=test:$$PYTHONPATH python tools/soak.py --minutes $(MINUTES)

fuzz: build ## Fuzz what reads images, classes, checkpoints and bags (FUZZ_SECONDS=60 for each)
	@$(ENTER) && for target in images classes checkpoints bags; do \
		PYTHONPATH=test:$$PYTHONPATH python tools/fuzz.py $$target --seconds $(FUZZ_SECONDS) || exit 1; done

coverage: build ## Measure line and branch coverage (TEST_ARGS=...)
	@$(ENTER) && python -m pytest --cov=erfnet_ros --cov-branch --cov-report=term:skip-covered --cov-report=html:build/coverage $(TEST_ARGS)

mutants: build ## Change single expressions and count which changes the tests notice (MUTANTS=60)
	@$(ENTER) && python tools/mutants.py --count $(MUTANTS)

lint: env ## Check style and types, Dockerfiles and workflows
	@. .venv$(SUFFIX)/bin/activate && ruff check . && ruff format --check . && mypy
	@tools/lint_ci.sh

licenses: env ## List the licenses of what is installed; copyleft and unknown ones are named
	@.venv$(SUFFIX)/bin/python tools/licenses.py

docs: ## Build the documentation into build/site; a broken link fails
	@tools/docs.sh

clean: ## Remove everything that was made here
	rm -rf .venv* build build-* install* log log-* demo_output soak_output .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
