# Two commands matter: `make demo` runs the whole loop on real data, `make test` proves the code.
# Needs Python >= 3.11 and a package registry; uv installs, brought along where it is missing, else pip.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Hundreds of processes start in a run of the tests; each would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN  := $(VENV)/bin
UV   := $(shell uv --version >/dev/null 2>&1 && echo uv)
ARGS ?=
ONLY ?=
SEEDS ?= 1000
SEED ?=
DAYS ?= 30
# `no` installs the newest that pyproject.toml allows, unchecked.
LOCKED ?= yes
# What the README promises; `make pythons` proves it.
PYTHONS := 3.11 3.12 3.13
TRAINING := tests/flows/test_regression.py
# One worker a core and one more, for many tests wait; files are kept whole so that a module's servers start once.
WORKERS := $(shell echo $$(( $$(nproc 2>/dev/null || echo 1) < 8 ? $$(nproc 2>/dev/null || echo 1) + 1 : 8 )))
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q
TOOLS  := $(sort $(notdir $(basename $(wildcard tools/check_*.py))))

.PHONY: help setup lock sbom check lint test race fuzz pythons on-one-python demo bench simulate docs browser redis clean

help: ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(VENV)/.dev ## install everything development needs into .venv

lock: $(VENV)/.dev ## write locks/ anew from pyproject.toml; UPGRADE=1 takes the newest versions
	@$(bring_uv); $(uv_registry) PATH="$(BIN):$$PATH" $(BIN)/python -m tools.write_locks $(if $(UPGRADE),--upgrade)

sbom: $(VENV)/.dev ## bill of materials (CycloneDX) of what locks/serve.txt installs, printed
	@$(BIN)/python -m tools.write_sbom serve

check: $(VENV)/.dev ## format, lint, types, import line, fences, doctests and fast tests on SQLite (two minutes)
	@said="$$(mktemp)"; trap 'rm -f "$$said"' EXIT; \
	$(MAKE) --no-print-directory lint >"$$said" 2>&1 & \
	failed=0; $(PYTEST) -m "not slow and not ui" || failed=1; \
	wait $$! || failed=1; cat "$$said"; exit $$failed

test: browser redis lint ## everything
	@$(PYTEST)

race: $(VENV)/.dev ## many processes that are killed for DAYS=30 of flights (SEED=8 draws other kills), and every pair of verbs at every statement
	@LOOPWRIGHT_TEST_DAYS=$(DAYS) $(if $(SEED),LOOPWRIGHT_TEST_SEED=$(SEED)) $(BIN)/pytest -q -rP tests/flows/test_many_processes.py
	@LOOPWRIGHT_TEST_PAIRS=all $(BIN)/pytest -q tests/contract/test_verb_pairs.py

fuzz: $(VENV)/.dev ## mutated requests at every door of gateway and server, and on their wire: SEEDS=21500 (make test draws 300)
	@LOOPWRIGHT_FUZZ=$(SEEDS) $(PYTEST) tests/fuzz

pythons: ## fast tests and a flow that trains, on each promised Python that is here
	@ran=""; failed=""; \
	for version in $(PYTHONS); do \
	  python="$$($(find_version))"; \
	  if [ -z "$$python" ]; then echo "pythons: NO PYTHON $$version HERE, SKIPPED"; continue; fi; \
	  echo "pythons: $$version at $$python"; ran="$$ran $$version"; \
	  $(MAKE) --no-print-directory on-one-python PYTHON="$$python" VENV=".venv-$$version" || failed="$$failed $$version"; \
	done; \
	[ -n "$$ran" ] || { echo "pythons: none of $(PYTHONS) is here"; exit 1; }; \
	[ -z "$$failed" ] || { echo "pythons: failed on$$failed"; exit 1; }; \
	echo "pythons: proven on$$ran"

on-one-python: $(VENV)/.dev
	@$(PYTEST) -m "not slow and not ui"
	@$(BIN)/pytest -q $(TRAINING)

demo: $(VENV)/.demo ## the whole loop on a year of real flights; ARGS="--days 60"
	@$(BIN)/loopwright demo $(ARGS)

bench: $(VENV)/.dev ## all benchmarks, or one: ONLY=gateway; docs/reference/figures.md follows
	@for file in $(if $(ONLY),benchmarks/bench_$(ONLY).py,$(sort $(wildcard benchmarks/bench_*.py))); do \
	  echo "== $$file"; $(BIN)/python "$$file"; done
	@$(BIN)/python -m tools.write_reference

simulate: $(VENV)/.dev ## histories with faults on virtual time: SEEDS=10000; SEED=7 replays one with its trace
	@nice $(BIN)/python -m tests.simulation.seeds $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

docs: $(VENV)/.dev ## write docs/reference from the code
	@$(BIN)/python -m tools.write_reference

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check --output-format concise . || { echo "format: run '$(BIN)/ruff format .'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@said="$$($(BIN)/lint-imports --no-logo)" && echo "import line: kept" || { echo "$$said"; exit 1; }
	@broken=0; for tool in $(TOOLS); do $(BIN)/python -m tools.$$tool || broken=1; done; exit $$broken

browser: ## install Debian's Chromium for the page tests, where apt can
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get install -y -qq --no-install-recommends chromium \
	       || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null 2>&1; \
	then echo "browser: Chromium installed"; \
	else echo "browser: no Chromium and no way to install it here; the page tests will be skipped"; fi

redis: ## install Debian's Redis for the tests of the online store, where apt can
	@if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get install -y -qq --no-install-recommends redis-server \
	       || { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }; } >/dev/null 2>&1; \
	then { systemctl disable --now redis-server || service redis-server stop; } >/dev/null 2>&1; \
	  echo "redis: installed, and not running: tests start their own"; \
	else echo "redis: no Redis and no way to install it here; the tests of the store in it will be skipped"; fi

clean: ## remove the environment and everything tools leave behind; state in .loopwright* stays
	@rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis benchmarks/.envs
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------------------------------

# PYTHON=/path/to/python chooses one; else the first that is new enough.
find_python = for candidate in $${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "$$candidate"; break; fi; done

# On PATH, or among those that uv and pyenv keep.
find_version = for candidate in "python$$version" "$(if $(UV),$$(uv python find $$version 2>/dev/null))" \
	  "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
	  if "$$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null; \
	  then echo "$$candidate"; break; fi; done

$(BIN)/python:
	@python="$$($(find_python))"; \
	if [ -n "$(UV)" ]; then uv venv --quiet --clear --python "$${python:-3.12}" $(VENV); \
	elif [ -z "$$python" ]; then echo "setup: no Python 3.11 or newer found; install one, or set PYTHON=..."; exit 1; \
	else "$$python" -m venv --clear $(VENV) \
	  || { echo "setup: this Python cannot make environments; install python3-venv or uv"; exit 1; }; fi

# uv does not read pip's settings, so the two that name a registry are handed over; whatever else
# only pip knows (pip.conf, find-links) works by the second try.
uv_registry = [ -z "$${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}"; \
	  [ -z "$${PIP_EXTRA_INDEX_URL:-}" ] || export UV_INDEX="$${UV_INDEX:-$$PIP_EXTRA_INDEX_URL}";
uv_with  = $(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python
pip_with = $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check
# By its hash too. Python compiles what it imports: to compile all that is installed takes a minute.
bring_uv = { [ -n "$(UV)" ] || [ -x $(BIN)/uv ] || $(pip_with) --only-binary :all: --require-hashes -r locks/uv.txt; }

# What the lock says, each file by its hash. What builds comes first and by its hash too, and nothing
# builds apart from it, where other versions would be fetched unchecked.
locked   = $(1) --require-hashes -r locks/build.txt \
	  && $(1) --require-hashes --no-build-isolation -r locks/$(2).txt \
	  && $(1) --no-build-isolation --no-deps -e .
install  = $(if $(filter no,$(LOCKED)),$(1) -e ".[$(2)]",$(call locked,$(1),$(2)))

uv_install = ( $(bring_uv) && $(uv_registry) $(call install,$(uv_with),$(1)) )
pip_install = { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
	  $(call install,$(pip_with),$(1)); }

$(VENV)/.dev $(VENV)/.demo: $(VENV)/.%: pyproject.toml locks/%.txt locks/build.txt locks/uv.txt | $(BIN)/python
	@echo "setup: installing loopwright[$*] into $(VENV)"
	@$(call uv_install,$*) || { echo "setup: uv could not; trying pip"; $(call pip_install,$*); }
	@touch $@
