# One target per task; CI runs only these targets.
# Needs Python 3.10+ (with venv and pip) and Rust; everything else is installed into .venv.

PYTHON ?= python3

VENV := .venv
ifeq ($(OS),Windows_NT)
PY := $(VENV)/Scripts/python
else
PY := $(VENV)/bin/python
endif

# maturin installs into this environment even if the shell has activated another one.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX

# zig links Linux wheels against the glibc of manylinux2014, so that they run on any distribution.
ifeq ($(shell uname -s),Linux)
WHEEL_FLAGS ?= --zig --compatibility manylinux2014
endif
WHEEL_LIMIT := 3000000
DOCS_PY = $(VENV)-docs/$(notdir $(patsubst %/,%,$(dir $(PY))))/python
# The sanitizers need the name of this machine's target.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
C_SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fanalyzer -g

.DEFAULT_GOAL := help
.PHONY: help venv dev bench bench-core peers company test test-programs test-rust test-python test-oldest test-exhaustive test-neon loom miri states asan tsan c-sanitizers stress report-browser processes soak fit-large fuzz kill interop scale lint format docs wheel sdist smoke-sdist deny smoke clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

bench: dev ## build, then run the headline benchmark
	$(PY) quick_benchmark.py -p f32 -n 50 -l 100 -d 1024 -a sigmoid

bench-core: ## time the workloads of rust/core/TUNING.md (BENCH=forward_batch: only these)
	cargo bench -p tinyrs-core --bench tuning -- $(BENCH)

peers: dev ## build, then compare with other libraries (30 minutes; PEERS_FLAGS=--quick: 3 minutes)
	$(PY) -m pip install --quiet 'tinyrs[peers]'
	$(PY) benchmarks/compare.py $(PEERS_FLAGS)

company: dev ## build, then time single calls beside other busy code (30 minutes; COMPANY_FLAGS=--quick: 2 minutes)
	$(PY) -m pip install --quiet 'tinyrs[peers]'
	$(PY) benchmarks/company.py $(COMPANY_FLAGS)

# The builds run side by side, because the link of the extension uses one core.
test: ## build, then run all tests
	$(MAKE) --no-print-directory --jobs=2 test-programs dev
	$(MAKE) --no-print-directory test-rust test-python test-oldest

test-programs:
	cargo test --no-run

test-rust: ## test the core; needs no Python
	cargo test

test-python: dev $(VENV)/.test ## build, then test the Python package
	$(PY) -m pytest

test-oldest: dev $(VENV)-oldest/.installed ## run scikit-learn's estimator checks on the oldest supported scikit-learn
	PYTHONPATH=python $(VENV)-oldest/$(notdir $(patsubst %/,%,$(dir $(PY))))/python -m pytest tests/test_classifier.py \
		-k 'scikit_learns_checks and width' -W ignore::pytest.PytestRemovedIn10Warning

test-exhaustive: ## test exp, tanh, sigmoid, sine and cosine on every f32 (12 minutes)
	cargo test --release -- --ignored exhaustive_

test-neon: ## test the core on emulated ARM (installs compiler and emulator with apt, as root)
	.ci/test-neon

loom: ## model-check the threads of a pass: every order of their operations, up to three preemptions (1 minute)
	RUSTFLAGS='--cfg loom' LOOM_MAX_PREEMPTIONS=3 cargo test --release --target-dir target/loom -p tinyrs-core --lib loom_

asan: ## run the core's tests with AddressSanitizer (nightly Rust; 6 minutes)
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target $(HOST) --target-dir target/asan -p tinyrs-core \
		--lib --test behaviour \
		-- --skip idle_workers_use_no_processor_time --skip arbitrary_precision --skip allocation:: --skip guard_pages::

tsan: ## run the core's threads and training with ThreadSanitizer (nightly Rust with rust-src; 5 minutes)
	RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target $(HOST) --target-dir target/tsan \
		-p tinyrs-core --lib --test behaviour -- --skip exhaustive_ --skip ulp --skip forward:: --skip allocation:: --skip guard_pages::

c-sanitizers: dev $(VENV)/.test ## compile generated C with the sanitizers and the static analyser of gcc, and run it
	CC=gcc TINYRS_C_FLAGS='$(C_SANITIZERS)' $(PY) -m pytest tests/test_to_c.py tests/test_export_quantized.py

stress: dev $(VENV)/.stress ## use one network, optimizer and predictor from eight threads (STRESS_SECONDS=60)
	TINYRS_STRESS_SECONDS=$(or $(STRESS_SECONDS),60) $(PY) -m pytest --noconftest tests/test_stress.py

miri: ## run small passes and trainings in an interpreter that finds undefined behaviour and data races (5 minutes)
	@cargo +nightly miri --version >/dev/null 2>&1 || { \
		echo 'make miri needs Miri: rustup toolchain install nightly --profile minimal -c miri,rust-src' >&2; exit 1; }
	MIRIFLAGS='-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-permissive-provenance -Zmiri-deterministic-floats -Zmiri-num-cpus=2' \
		cargo +nightly miri test --target-dir target/miri -p tinyrs-core --lib memory_model_

report-browser: dev $(VENV)/.test ## test the pages of `tinyrs train` and `tinyrs bench` in an installed browser
	TINYRS_BROWSER=1 $(PY) -m pytest tests/test_cli_report.py tests/test_cli_report_browser.py

processes: dev $(VENV)/.test ## test forks, start methods, namespaces and exits, ROUNDS=50 times each (10 minutes)
	TINYRS_PROCESS_ROUNDS=$(or $(ROUNDS),50) $(PY) -m pytest tests/test_processes.py

soak: dev $(VENV)/.test ## run changing work for SOAK_SECONDS=1800; memory, threads and open files must not grow
	$(PY) tests/soak.py $(or $(SOAK_SECONDS),1800)

fit-large: dev $(VENV)/.test ## train on ROWS=20000000 rows in an address space of 2 GB; as accurate as in memory (15 minutes)
	$(PY) tests/fit_large.py --rows $(or $(ROWS),20000000)

states: dev $(VENV)/.test ## test long sequences of calls of TinyClassifier (STATES=1000: this many)
	TINYRS_STATES=$(or $(STATES),1000) $(PY) -m pytest tests/test_classifier_states.py

fuzz: dev $(VENV)/.test ## fuzz all readers and the writers of C and HTML, FUZZ_SECONDS=900 together
	$(PY) -m pip install --quiet atheris
	$(PY) tests/fuzz/run.py --seconds $(or $(FUZZ_SECONDS),900) $(FUZZ_TARGETS)

kill: dev $(VENV)/.test ## inject I/O faults into all writers, then kill writers at random moments (KILLS=1000)
	$(PY) -m pytest -q -s tests/test_io_faults.py
	$(PY) tests/kill_writers.py --kills $(or $(KILLS),1000)

interop: dev ## test the import of models of the real PyTorch and Keras (5 GB, into .venv-interop)
	$(PYTHON) -m venv $(VENV)-interop
	$(PY) -m pip --python $(VENV)-interop install --quiet --group interop
	for file in tests/interop_*.py; do \
		PYTHONPATH=python $(VENV)-interop/$(notdir $(patsubst %/,%,$(dir $(PY))))/python -m pytest $$file || exit 1; \
	done

scale: dev ## run examples/scale on local clusters of two processes (1 GB, into .venv-scale; needs a Java runtime; 8 minutes)
	$(PYTHON) -m venv $(VENV)-scale
	$(PY) -m pip --python $(VENV)-scale install --quiet --group scale
	for file in tests/scale_*.py; do \
		PYTHONPATH=$(CURDIR)/python:$(CURDIR)/tests:$(CURDIR)/examples/scale \
			$(VENV)-scale/$(notdir $(patsubst %/,%,$(dir $(PY))))/python -m pytest -W default -o faulthandler_timeout=900 $$file || exit 1; \
	done

docs: dev $(VENV)-docs/.installed ## run the code of all pages and examples, then build the site into docs/_build/html (5 minutes)
	TINYRS_DOCS=1 PYTHONPATH=python $(DOCS_PY) -m pytest tests/test_docs.py
	mkdir -p docs/_build
	PYTHONPATH=python $(DOCS_PY) benchmark.py -c docs/benchmark.yaml
	PYTHONPATH=python $(DOCS_PY) -m sphinx --quiet --fail-on-warning --keep-going --builder html docs docs/_build/html
	$(DOCS_PY) docs/check_links.py docs/_build/html

venv: $(VENV)/.build $(VENV)/.test $(VENV)/.lint ## create .venv with the tools for building, testing and linting

dev: $(VENV)/.build ## create .venv and build tinyrs into it, optimised
	$(PY) -m maturin develop --release --extras bench,plot

lint: dev $(VENV)/.test $(VENV)/.lint ## run all formatters and linters without changing files
	cargo fmt --all --check
	PYO3_PYTHON="$(CURDIR)/$(PY)" cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml tinyrs._tinyrs
	$(dir $(PY))zizmor --offline --quiet .github

format: $(VENV)/.lint ## format the sources and apply automatic fixes
	cargo fmt --all
	$(PY) -m ruff check --fix --exit-zero
	$(PY) -m ruff format

wheel: $(VENV)/.build $(VENV)/.wheel ## build the wheel for this machine into dist/ and check its size
	rm -rf dist
	CARGO_ZIGBUILD_PYTHON_PATH="$(CURDIR)/$(PY)" $(PY) -m maturin build --release --locked --out dist -i $(PY) $(WHEEL_FLAGS)
	@ls -l dist
	@test -z "$$(find dist -name '*.whl' -size +$(WHEEL_LIMIT)c)" || { echo 'a wheel is over $(WHEEL_LIMIT) bytes' >&2; exit 1; }

sdist: $(VENV)/.build ## build the source distribution into dist/
	$(PY) -m maturin sdist --out dist

smoke-sdist: $(VENV)/.pip ## build a wheel from the source distribution of `make sdist` as pip does, and use it
	$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz
	$(PYTHON) tests/wheel_smoke.py $(SMOKE_FLAGS) dist/*.whl

deny: ## check advisories, licences and sources of the crates (installs cargo-deny)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny
	cargo deny check

smoke: ## install the wheel of `make wheel` into a new environment of every installed Python 3.10+, and use it
	$(PYTHON) tests/wheel_smoke.py $(SMOKE_FLAGS) dist/*.whl

clean: ## remove all build results and environments
	rm -rf target dist $(VENV) $(VENV)-docs $(VENV)-oldest $(VENV)-interop $(VENV)-scale docs/_build docs/auto_gallery docs/api/generated .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find python tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/tinyrs/_tinyrs*.so python/tinyrs/_tinyrs*.pyd

# One stamp file per dependency group: a target installs its group once, and again when pyproject.toml changes.
$(VENV)/.build $(VENV)/.test $(VENV)/.stress $(VENV)/.lint $(VENV)/.wheel: $(VENV)/.%: $(VENV)/.pip pyproject.toml
	$(PY) -m pip install --quiet --group $*
	@touch $@

$(VENV)-oldest/.installed: $(VENV)/.pip pyproject.toml
	$(PYTHON) -m venv $(VENV)-oldest
	$(PY) -m pip --python $(VENV)-oldest install --quiet --group oldest
	@touch $@

$(VENV)-docs/.installed: $(VENV)/.pip pyproject.toml
	$(PYTHON) -m venv $(VENV)-docs
	$(PY) -m pip --python $(VENV)-docs install --quiet --group docs
	@touch $@

# pip supports --group since 25.1.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "tinyrs needs Python 3.10+, not " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
