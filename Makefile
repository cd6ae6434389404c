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

PYTHON ?=
SOURCE ?=
DEMO_ARGS ?=
TEST_ARGS ?=
export PYTHON

# The built workspace and its environment, for a recipe's shell.
ENTER = . .venv/bin/activate && . install/local_setup.bash

.PHONY: help demo env build test lint clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

env: ## Make the Python environment in .venv (uses the ROS 2 that is sourced, else installs one from wheels)
	@tools/setup_env.sh

build: env ## Build the ROS package into install/
	@tools/build.sh

demo: build ## Segment a camera over DDS, write demo_output/ (SOURCE=folder or video, DEMO_ARGS=...)
	@$(ENTER) && erfnet demo --out demo_output $(if $(SOURCE),--source "$(SOURCE)") $(DEMO_ARGS)
	@echo; echo "To run erfnet yourself, enter this environment:"; echo "  $(ENTER)"; echo "  erfnet --help"

test: build ## Run the tests (TEST_ARGS=...)
	@$(ENTER) && $(if $(TEST_ARGS),python -m pytest $(TEST_ARGS),tools/test.sh)

lint: env ## Check style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

clean: ## Remove everything that was made here
	rm -rf .venv build install log demo_output .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
