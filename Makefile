# The commands for people and for CI. `make help` lists them.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
PYTEST := .venv/bin/pytest $(EXHAUSTIVE)
# Rendering takes one core for each process.
PROCESSES ?= 2
# These two groups run at once, and share what is built of dependencies. Cargo gives crates of one name the same files,
# whatever folder they are in, so a group would run what the other has built: by another number of codegen units the
# crates of the second group have files of their own. Benches of both groups need crates of different names.
# test_recipes.py comes before test_service_cost.py, which changes the service whose benches it builds.
BUILDING_1 := $(addprefix tests/crates/test_,adopted.py names.py variants.py) tests/standards tests/performance/test_attacks.py
COST := tests/performance/test_service_cost.py
BUILDING_2 := $(filter-out $(BUILDING_1) $(COST),$(wildcard tests/performance/test_*.py)) tests/crates/test_recipes.py $(COST) \
	$(filter-out $(BUILDING_1) tests/crates/test_recipes.py,$(wildcard tests/crates/test_*.py))

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/copier-fast-rust
RUNNER_VERSION := $(shell sed -n 's/^gungraun: *//p' versions.yml)
# The version is part of the path, so each version is built once.
RUNNER := $(CACHE)/gungraun-runner-$(RUNNER_VERSION)/bin/gungraun-runner

# .venv/bin has the Python tools, the cargo tools that are wheels, and the runner.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Copier writes many small files; in memory, if there is room, that takes half the time.
IN_MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 { print "env TMPDIR=/dev/shm" }')

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z%-]*\):[^#]*## \(.*\)/\1	\2/p' Makefile | while IFS='	' read -r target text; do \
		printf '  make %-18s %s\n' "$$target" "$$text"; done

.PHONY: setup
setup: check-machine .venv/.installed runner packages ## Install what the tests need; quick if it is installed already

.PHONY: test
test: expect lint ## Check the code, and run all tests except the exhaustive ones
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-building-1 test-building-2 test-not-building

# 48 minutes were measured in CI, with an empty target folder; `make test-times` prints what takes
# them.
.PHONY: expect
expect:
	@echo "make test takes about 50 minutes on two cores. To run a single part: make test-rendering, test-crates," \
		"test-standards, test-performance, test-updates, test-fleet, test-tool."

.PHONY: test-all
test-all: ## Run `make test`, then `make test-exhaustive`
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-exhaustive

.PHONY: test-exhaustive
test-exhaustive: ## Build and run every variant, and render the combinations of answers that `make test` skips; takes an hour
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target EXHAUSTIVE=--exhaustive \
		test-building-1 test-building-2 test-not-building

.PHONY: test-variant
test-variant: setup ## Render, build and run one variant: `make test-variant VARIANT=cli-member-jemalloc`
	@found=; for option in "" --exhaustive; do \
		status=0; $(PYTEST) $$option tests/crates/test_variants.py tests/crates/test_release_profile.py -k '[$(VARIANT)]' || status=$$?; \
		case $$status in 0) found=yes ;; 5) ;; *) exit $$status ;; esac; \
	done; \
	if [ -z "$$found" ]; then echo "unknown variant '$(VARIANT)'; names are the ids of tests/crates/test_variants.py" >&2; exit 2; fi

.PHONY: test-times
test-times: setup ## Run `make test`, and print the CPU seconds of each test; writes tables to build/test-times
	@rm -rf build/test-times
	PYTHONPATH=measure PYTEST_ADDOPTS='-p test_times' $(MAKE) --no-print-directory test
	.venv/bin/python measure/test_times.py

.PHONY: test-rendering
test-rendering: .venv/.installed ## Run the tests of the rendered files and of this repository
	$(IN_MEMORY) $(PYTEST) --numprocesses=$(PROCESSES) tests/rendering tests/test_repository.py

.PHONY: test-crates
test-crates: setup ## Run the tests that build crates
	$(PYTEST) tests/crates

.PHONY: test-standards
test-standards: setup ## Run the tests of what each gate rejects and accepts
	$(PYTEST) tests/standards

.PHONY: test-updates
test-updates: check-machine .venv/.installed ## Run the tests of updates, drift and adoption
	$(IN_MEMORY) $(PYTEST) --numprocesses=$(PROCESSES) tests/updates

.PHONY: test-fleet
test-fleet: check-machine .venv/.installed ## Run the tests of fleets
	$(IN_MEMORY) $(PYTEST) --numprocesses=$(PROCESSES) tests/fleet

.PHONY: test-tool
test-tool: check-machine .venv/.installed ## Run the tests of how a crate installs and starts fast-rust
	$(IN_MEMORY) $(PYTEST) --numprocesses=$(PROCESSES) tests/tool

.PHONY: test-performance
test-performance: setup ## Run the tests of benchmarks, `just perf` and the measuring scripts
	$(PYTEST) tests/performance

# These tests build no crate. They use what the other groups leave of both cores, and all of it after them.
.PHONY: test-not-building
test-not-building: check-machine .venv/.installed
	nice -n 5 $(IN_MEMORY) $(PYTEST) --numprocesses=$(PROCESSES) tests/rendering tests/test_repository.py tests/updates tests/fleet tests/tool

.PHONY: test-building-1
test-building-1: setup
	$(PYTEST) $(BUILDING_1)

.PHONY: test-building-2
test-building-2: setup
	FAST_RUST_CODEGEN_UNITS=255 $(PYTEST) $(BUILDING_2)

.PHONY: demo
demo: check-machine .venv/.installed ## Create a service, build it, send it requests, read its metrics and stop it
	.venv/bin/python tests/demo.py

.PHONY: lint
lint: check-machine .venv/.installed ## Check the Python code, the configuration and the workflows
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	SKIP=ruff-check,ruff-format,mypy .venv/bin/pre-commit run --all-files

# --- Documents with figures: write them on an idle machine ---

.PHONY: compare
compare: check-machine .venv/.installed ## Compare the sample with other tools on 50 million lines, into docs/compare.md
	.venv/bin/python measure/compare.py

.PHONY: compare-service
compare-service: setup ## Measure the service by layer and against other stacks, into docs/compare-service.md; needs wrk
	.venv/bin/python measure/service.py

.PHONY: soak
soak: .venv/.installed ## Load a service with overload, slow clients, resets and drains, into docs/soak.md; takes eight minutes
	.venv/bin/python measure/soak.py

.PHONY: compare-generator
compare-generator: .venv/.installed ## Measure copies and updates against other generators, into docs/compare-generator.md
	.venv/bin/python measure/generator.py

# tests/ is on the path for tests/support/, which tests and measurements share.
N ?= 100
.PHONY: fleet-bench
fleet-bench: .venv/.installed ## Measure fleets of up to N crates, into docs/fleet-figures.md
	PYTHONPATH=tests $(IN_MEMORY) .venv/bin/python measure/fleet_bench.py $(N)

.PHONY: fleet-kills
fleet-kills: .venv/.installed ## Kill 50 runs of a fleet at random, resume each, and fail if the result differs from an undisturbed run
	PYTHONPATH=tests $(IN_MEMORY) .venv/bin/python measure/fleet_bench.py --kills

.PHONY: profiles
profiles: setup ## Measure what each build setting costs and gains, into docs/profiles.md; takes a quarter of an hour
	.venv/bin/python measure/profiles.py

.PHONY: evidence
evidence: .venv/.installed ## Measure the figures of the guide, into docs/evidence.md
	.venv/bin/python measure/evidence.py

.PHONY: measure-perf
measure-perf: setup ## Measure one commit ten times, and print the spread of its figures
	.venv/bin/python measure/perf_spread.py

.PHONY: measure-check
measure-check: .venv/.installed ## Measure `fast-rust check` and ast-grep alone, and print both times
	.venv/bin/python measure/check.py

.PHONY: measure-adopt
measure-adopt: .venv/.installed ## Adopt real crates, and write docs/adopt-figures.md
	.venv/bin/python measure/adopt.py

.PHONY: measure-setup
measure-setup: .venv/.installed ## Measure `just setup` with an empty cache, here and in 0.7.0, and print both times
	.venv/bin/python measure/setup.py

.PHONY: measure-lints
measure-lints: setup ## Count the hits of each candidate lint in well-regarded crates, into build/measure-lints
	PYTHONPATH=measure .venv/bin/python tests/standards/measure_lints.py

.PHONY: measure-rules
measure-rules: .venv/.installed ## Count what each rule of ast-grep finds in the same crates, into docs/lints.md
	PYTHONPATH=tests:measure .venv/bin/python tests/standards/measure_rules.py

# --- The parts of setup ---

.PHONY: check-machine
check-machine:
	@missing=; \
	command -v git >/dev/null || missing="$$missing\n  git"; \
	$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		missing="$$missing\n  Python 3.11 or newer with venv (on Debian: python3-venv); to use another Python: make setup PYTHON=..."; \
	command -v cargo >/dev/null || missing="$$missing\n  cargo, from https://rustup.rs"; \
	command -v rustup >/dev/null || missing="$$missing\n  rustup, from https://rustup.rs; it installs the toolchain that a crate requires"; \
	if [ -n "$$missing" ]; then printf "These programs are missing; install them, then run make setup again:$$missing\n" >&2; exit 1; fi

.venv/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: runner
runner: $(RUNNER) .venv/.installed
	@ln -sf $(RUNNER) .venv/bin/gungraun-runner

# The tests run it only briefly, so it is built without optimisation, which is faster.
$(RUNNER):
	@echo "Building gungraun-runner $(RUNNER_VERSION), once; this takes a minute."
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install --quiet --locked --root $(CACHE)/gungraun-runner-$(RUNNER_VERSION) --version =$(RUNNER_VERSION) gungraun-runner

# valgrind counts instructions; qemu-user emulates an old processor.
.PHONY: packages
packages:
	@if command -v valgrind >/dev/null && command -v qemu-x86_64 >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then sudo=none; \
	elif [ "$$(id -u)" = 0 ]; then sudo=; \
	elif sudo -n true 2>/dev/null; then sudo='sudo -n'; else sudo=none; fi; \
	if [ "$$sudo" != none ] && $$sudo apt-get -qq update && $$sudo apt-get -qq install --yes valgrind qemu-user; then exit 0; fi; \
	echo "warning: valgrind or qemu-x86_64 is missing, and this command cannot install them. Install both with the" \
		"package manager (Debian: apt-get install valgrind qemu-user); the tests that need them fail until then." >&2
