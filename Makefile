# Every chore of the project, one target each; CI runs these and nothing else.
# Needs Python 3.10+ (with venv and pip) and Rust; all the rest comes into .venv.

PYTHON ?= python3

VENV := .venv
ifeq ($(OS),Windows_NT)
PY := $(VENV)/Scripts/python
else
PY := $(VENV)/bin/python
endif

# maturin installs into this environment, whatever else the shell has activated.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX

# Linux wheels are linked by zig against the glibc of manylinux2014, so that one built here runs on any distribution.
ifeq ($(shell uname -s),Linux)
WHEEL_FLAGS ?= --zig --compatibility manylinux2014
endif
WHEEL_LIMIT := 3000000

.DEFAULT_GOAL := help
.PHONY: help venv dev bench bench-core peers company test test-rust test-python test-oldest test-exhaustive test-neon loom report-browser fuzz interop lint format wheel smoke clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

bench: dev ## build, then run the headline benchmark
	$(PY) quick_benchmark.py -p f32 -n 50 -l 100 -d 1024 -a sigmoid

bench-core: ## time the workloads that the core's constants were chosen on (BENCH=forward_batch: those alone; rust/core/TUNING.md)
	cargo bench -p tinyrs-core --bench tuning -- $(BENCH)

peers: dev ## build, then compare with other libraries (a quarter of an hour; PEERS_FLAGS=--quick: 2 minutes)
	$(PY) -m pip install --quiet 'tinyrs[peers]'
	$(PY) benchmarks/compare.py $(PEERS_FLAGS)

company: dev ## build, then time single calls beside other busy code (half an hour; COMPANY_FLAGS=--quick: 2 minutes)
	$(PY) -m pip install --quiet 'tinyrs[peers]'
	$(PY) benchmarks/company.py $(COMPANY_FLAGS)

test: test-rust test-python test-oldest ## build, then run all tests

test-rust: ## the tests of the core; needs no Python
	cargo test

test-python: dev $(VENV)/.test ## the tests of the Python package
	$(PY) -m pytest

test-oldest: dev $(VENV)-oldest/.installed ## scikit-learn's checks of the estimator, on the oldest that is supported
	PYTHONPATH=python $(VENV)-oldest/$(notdir $(patsubst %/,%,$(dir $(PY))))/python -m pytest tests/test_classifier.py \
		-k 'scikit_learns_checks and width' -W ignore::pytest.PytestRemovedIn10Warning

test-exhaustive: ## exp, tanh and sigmoid over every f32 there is (minutes)
	cargo test --release -- --ignored exhaustive_

test-neon: ## the tests of the core on emulated ARM (apt installs compiler and emulator, as root)
	.ci/test-neon

loom: ## every order in which the threads of a pass can run, up to three preemptions (a minute)
	RUSTFLAGS='--cfg loom' LOOM_MAX_PREEMPTIONS=3 cargo test --release --target-dir target/loom -p tinyrs-core --lib loom_

report-browser: dev $(VENV)/.test ## the page of `tinyrs train --report` in a real browser, which must be there
	TINYRS_BROWSER=1 $(PY) -m pytest tests/test_cli_report.py

fuzz: dev ## bytes that the loader of model files neither reads nor refuses are searched for (FUZZ_SECONDS=100)
	$(PY) -m pip install --quiet atheris
	$(PY) tests/fuzz_model_file.py -max_total_time=$(or $(FUZZ_SECONDS),100) -max_len=8192

interop: dev ## the real PyTorch and Keras, whose models are read (gigabytes, into an environment of their own)
	$(PYTHON) -m venv $(VENV)-interop
	$(PY) -m pip --python $(VENV)-interop install --quiet --group interop
	for file in tests/interop_*.py; do \
		PYTHONPATH=python $(VENV)-interop/$(notdir $(patsubst %/,%,$(dir $(PY))))/python -m pytest $$file || exit 1; \
	done

venv: $(VENV)/.build $(VENV)/.test $(VENV)/.lint ## .venv with the tools of all the chores below in it

dev: $(VENV)/.build ## build tinyrs into .venv, optimised, as `import tinyrs` finds it
	$(PY) -m maturin develop --release --extras bench,plot

lint: dev $(VENV)/.test $(VENV)/.lint ## every formatter and linter, changing nothing
	cargo fmt --all --check
	PYO3_PYTHON="$(CURDIR)/$(PY)" cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml tinyrs._tinyrs
	$(dir $(PY))zizmor --offline --quiet .github

format: $(VENV)/.lint ## rewrite the sources the way `make lint` wants them
	cargo fmt --all
	$(PY) -m ruff check --fix --exit-zero
	$(PY) -m ruff format

wheel: $(VENV)/.build $(VENV)/.wheel ## build the wheel for this machine into dist/ and check its size
	rm -rf dist
	CARGO_ZIGBUILD_PYTHON_PATH="$(CURDIR)/$(PY)" $(PY) -m maturin build --release --locked --out dist -i $(PY) $(WHEEL_FLAGS)
	@ls -l dist
	@test -z "$$(find dist -name '*.whl' -size +$(WHEEL_LIMIT)c)" || { echo 'a wheel is over $(WHEEL_LIMIT) bytes' >&2; exit 1; }

smoke: ## install the wheel of `make wheel` into fresh environments of every Python 3.10+ found, and use it
	$(PYTHON) tests/wheel_smoke.py $(SMOKE_FLAGS) dist/*.whl

clean: ## remove everything that was built
	rm -rf target dist $(VENV) $(VENV)-oldest $(VENV)-interop .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find python tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/tinyrs/_tinyrs*.so python/tinyrs/_tinyrs*.pyd

# A stamp for each dependency group: a chore installs what it needs, once, and again when pyproject.toml changes.
$(VENV)/.build $(VENV)/.test $(VENV)/.lint $(VENV)/.wheel: $(VENV)/.%: $(VENV)/.pip pyproject.toml
	$(PY) -m pip install --quiet --group $*
	@touch $@

$(VENV)-oldest/.installed: $(VENV)/.pip pyproject.toml
	$(PYTHON) -m venv $(VENV)-oldest
	$(PY) -m pip --python $(VENV)-oldest install --quiet --group oldest
	@touch $@

# 25.1 is the first pip that knows --group.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "tinyrs needs Python 3.10+, not " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
