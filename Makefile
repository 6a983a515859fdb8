# Needs Python 3.11.5 or newer and make; everything else goes into .venv, from requirements.lock.
# Paths are relative, so that a clone may lie anywhere, blanks in its path included.

PY = .venv/bin/python

# Threads that spin while they wait slow one another down wherever cores are shared with other work.
export OMP_WAIT_POLICY ?= PASSIVE
PRESETS = smoke quick overnight paper published
PRESET ?= smoke
PROFILE ?= default
ifeq ($(filter $(PRESETS),$(PRESET)),)
$(error PRESET=$(PRESET) given, expected one of: $(PRESETS))
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

book: .venv/ready ## run the chapters and build the book [PRESET=smoke|quick|overnight|paper|published] [PROFILE=default|slurm|kubernetes]; what is computed is kept
	@$(PY) -m snakemake --workflow-profile $(PROFILE) --config preset=$(PRESET)

quick: ## the same as make book PRESET=quick: the paper's data on a laptop
	@$(MAKE) --no-print-directory book PRESET=quick

paper: ## the same as make book PRESET=paper: for a GPU
	@$(MAKE) --no-print-directory book PRESET=paper

pdf: book ## the same, and each page as a PDF in build/pdf, by headless Chromium [PRESET]
	@$(PY) -m nssutils.companion.runner pdf

test: .venv/ready ## check the code's style and run every test
	@$(PY) -m ruff check .
	@$(PY) -m pytest

slurm-test: .venv/ready ## the book at smoke through a Slurm of its own on this machine, a job killed, against a local run [CHAPTERS=...]
	@PYTHONPATH=. $(PY) tests/slurm/run.py $(CHAPTERS)

kill-test: .venv/ready ## kill a smoke run at random moments, go on, compare with an unbroken run [KILLS=50]
	@PYTHONPATH=. $(PY) tests/kills/run.py --kills $(or $(KILLS),50)

gpu-test: .venv/ready ## every chapter at smoke as if there were a GPU, against the same without [CHAPTERS=...]
	@PYTHONPATH=.:tests $(PY) tests/gpu/run.py $(CHAPTERS)

bench: .venv/ready ## time the fast algorithms against the plain ones; one table of all [BENCH="NAME ..."]
	@$(PY) bench/table.py $(BENCH)

clean: ## remove what was built; .venv, datasets, checkpoints and computed results stay
	rm -rf build .snakemake

.PHONY: help book quick paper pdf test slurm-test kill-test gpu-test bench clean

# The file `ready` is written last: an environment whose making was cut short is made anew.
.venv/ready: requirements.lock
	@for python in "$(PYTHON)" python3.11 python3.12 python3.13 python3 none; do \
	  command -v "$$python" >/dev/null || continue; \
	  found="$$found $$("$$python" -V 2>&1)"; \
	  "$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11, 5))' 2>/dev/null && break; \
	done; \
	if [ "$$python" = none ]; then \
	  echo "Python 3.11.5 or newer, with its venv module, is needed. Found:$${found:- none}." >&2; \
	  echo "To name one that is not on the PATH: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 2; \
	fi; \
	echo "[1/3] making .venv with $$("$$python" -V)"; \
	rm -rf .venv && "$$python" -m venv .venv
	@echo "[2/3] installing requirements.lock: about 3 minutes, most of it for torch"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "[3/3] installing nssutils itself"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch .venv/ready
