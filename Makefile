# make quick   the linters and the tests of the library: 3 minutes on 2 cores, once everything is set up
# make demo    set everything up and train on the images that come along (under 10 minutes on 2 cores)
# make test    set everything up and run every check
# make help    the rest

PYTHON ?= python3
VENV ?= .venv
RUNS ?= runs
MINUTES ?= 60
WORKERS ?= 2

python := $(VENV)/bin/python
# A file of tests stays in one process, so that what its fixtures build is built once. The files start in the order of
# their folders, which puts the short ones last.
pytest := $(python) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --benchmark-disable --durations=10
sources := $(shell find csrc -type f) setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: quick help setup tools demo test lint format pytest oldest docs matrix integrations integrations-yolo fuzz wheel clean

quick: lint ## the linters and the tests of the library: 3 minutes on 2 cores, once everything is set up
	$(pytest) tests/unit tests/op

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

setup: $(VENV)/.built ## a virtual environment with all that is needed, and the library built in place

# Python compiles the modules that are used at their first import; compiling all of torch here would take longer.
$(VENV)/.packages: pyproject.toml constraints.txt
	test -x $(python) || $(PYTHON) -m venv $(VENV)
	$(python) -m pip install -q --upgrade pip
	$(python) -m pip install -q --no-compile -c constraints.txt torch torchvision
	$(python) scripts/install_extras.py build detector
	touch $@

# What only checks and documentation need: the demo does not wait for it.
$(VENV)/.tools: $(VENV)/.packages
	$(python) scripts/install_extras.py dev docs export
	touch $@

# A checkout serves the GPUs that are here, which builds sooner; without one, PTX serves those since Turing.
$(VENV)/.built: $(VENV)/.packages $(sources)
	gpus="$$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -E '^[0-9.]+$$' | sort -u | paste -sd ';')"; \
	TORCH_CUDA_ARCH_LIST="$${TORCH_CUDA_ARCH_LIST:-$${gpus:-7.5+PTX}}" $(python) -m pip install -q --no-build-isolation --no-deps -e .
	$(python) -m pseudo_iou_ops.env
	touch $@

demo: setup ## train a small detector on the microscope images in datasets/, evaluate it, draw pictures
	$(python) -m detector demo --out $(RUNS)/demo

tools: setup $(VENV)/.tools ## the same, and what the checks and the documentation need

test: tools lint pytest docs oldest ## every check that CI runs

lint: tools ## ruff, clang-format, mypy
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | grep -v '/\.build/' | xargs $(VENV)/bin/clang-format --dry-run -Werror

format: tools ## put the sources into the form lint asks for
	$(python) -m ruff check --fix .
	$(python) -m ruff format .
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | grep -v '/\.build/' | xargs $(VENV)/bin/clang-format -i

pytest: tools
	HYPOTHESIS_PROFILE=ci $(pytest)

oldest: tools ## the sources with the oldest headers, the binary with an older torch
	scripts/check_oldest_headers.sh $(python) 2.11.0
	scripts/check_wheel.sh $(python) 2.13.0

docs: tools ## site/: the documentation, built without a network and without a warning
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --quiet --strict

matrix: tools ## one wheel under every torch it is made for: half an hour on 2 cores, and 4 GB of room at a time
	for version in 2.11.0 2.12.1 2.13.0 2.14.1 newest; do scripts/check_wheel.sh $(python) $$version once || exit 1; done

integrations: tools ## the adapters of projects that are no dependency, with the projects themselves
	$(python) -m pip install -q --no-deps -r tests/integrations/requirements.txt
	$(python) -m pytest -o python_files="test_*.py with_*.py" tests/integrations

integrations-yolo: tools ## the slot of the YOLO family with an installed ultralytics (AGPL), a black box
	$(python) -m pip install -q --no-deps -r tests/integrations/requirements_yolo.txt
	YOLO_CONFIG_DIR=build $(python) -m pytest -o python_files="black_box_*.py" tests/integrations/black_box_ultralytics.py

# There is no wheel of atheris for every Python; the summary says so.
fuzz: tools ## an hour (MINUTES) of fuzzing and its summary; a part of it needs clang++ with libFuzzer
	-$(python) scripts/install_extras.py fuzz
	$(python) scripts/fuzz.py $(MINUTES)

wheel: tools ## dist/: the sdist, and from it audited wheels: CPU kernels alone, and with CUDA kernels where nvcc is
	scripts/build_wheels.sh $(python) dist

clean: ## remove what was built, not the virtual environment
	rm -rf build dist site *.egg-info pseudo_iou_ops/*.so tests/emulated/.build
