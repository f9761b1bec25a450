# `make demo` and `make test` set themselves up: two commands on a fresh machine are enough.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := data train eval bench serve ops s3 postgres dev
TASKS := belebele_tr,exams_tr,ironytr,news_cat,mnli_tr,sts_tr,xcopa_tr
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# What `make test-infra` runs really, as Debian packs it.
SERVICES := slurm-wlm munge postgresql swift-proxy swift-account swift-container swift-object memcached iproute2
export DEBIAN_FRONTEND := noninteractive
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

# Brings the tokenizer of 256 000 tokens; any npm will do, so one that is there is kept.
NPM := command -v npm >/dev/null || (apt-get update -qq && apt-get install -qq -y --no-install-recommends npm)
.PHONY: setup demo quick test coverage test-e2e test-infra test-paper check up reference docs clean lock help
help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.stamp  ## make .venv with every pin of constraints.txt

# torch comes first and by pip, so that a build already chosen (CPU, CUDA, ROCm) is kept.
.venv/.stamp: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install -q $$(grep '^uv==' constraints.txt) $$(grep '^setuptools==' constraints.txt)
	grep -v "^torch==" constraints.txt > .venv/pins.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation-package deepspeed --compile-bytecode -r .venv/pins.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

demo: setup  ## raw text -> trained, evaluated, reported and registered model (about 10 minutes)
	$(BIN)/diffutron build --profile demo

quick: setup  ## the tests without servers and long trainings (about 4 minutes)
	$(TESTS) -m "not slow and not e2e and not infra and not paper"

test: setup  ## the test suite (no network), a file at a time on each of two processes
	$(TESTS)

coverage: setup  ## the same under coverage, which takes 1.4 times as long
	$(TESTS) --cov --cov-report=term:skip-covered --cov-fail-under=90

# Real servers and a browser on a machine that others use: what fails is tried once more, in sight.
test-e2e: setup  ## a build, a cancel and a promotion in Chromium (installs it)
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium)
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps $$(grep -E '^(playwright|greenlet)==' constraints.txt)
	$(BIN)/python -m pytest -m e2e tests/e2e || $(BIN)/python -m pytest -m e2e tests/e2e

test-infra: setup  ## real Slurm, Postgres, S3 and the composed servers on this machine (installs them)
	dpkg -s $(SERVICES) >/dev/null 2>&1 || (apt-get update -qq && apt-get install -qq -y --no-install-recommends $(SERVICES))
	@$(NPM)
	$(BIN)/python -m pytest -m infra tests/infra || $(BIN)/python -m pytest -m infra --last-failed tests/infra

test-paper: setup  ## profile `paper` at 307 M parameters, two steps a stage: seconds, memory (12 GiB, 40 GB of disk)
	$(NPM)
	DIFFUTRON_FIGURES=$(CURDIR)/test-paper.json $(BIN)/python -m pytest -m paper tests/e2e

check: setup  ## style, types, task files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lm-eval validate --tasks $(TASKS) --include_path diffutron/evaluation/cetvel

up: setup  ## Prefect, MLflow and the deployments on 127.0.0.1
	$(BIN)/diffutron up

reference: setup  ## docs/reference: the settings and the environment variables, from the code
	$(BIN)/python -m diffutron.config.reference > docs/reference/params.md
	$(BIN)/python -m diffutron.config.environment > docs/reference/environment.md

docs: setup  ## the docs as a site, in build/site; a dead link or a page without a place fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

clean:  ## everything that can be made again, the environment apart
	rm -rf data models report registry checkpoints mlartifacts mlflow.db .prefect .pytest_cache .ruff_cache .coverage* test-paper.json

lock:  ## compile constraints.txt anew (needs a CPU build of torch in reach: UV_FLAGS)
	(echo "# Every transitive pin; made by \`make lock\`. Nothing is resolved at install."; \
	echo "torch==2.13.0"; echo "torch==2.13.0" | \
	$(BIN)/uv pip compile -q pyproject.toml $(addprefix --extra ,$(EXTRAS)) --universal --python-version 3.11 -c - \
	  --no-emit-find-links --no-annotate --no-header $(UV_FLAGS) \
	  | grep -vE '^(torch|nvidia|triton|cuda)[-=]') > constraints.tmp
	mv constraints.tmp constraints.txt
