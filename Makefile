# The two commands: `make bench` and `make test`. Each sets up what it needs first; a second call starts at once.
#   VENV=DIR    where the environment lives (default .venv)
#   LIBS=a,b    only these of torchvision, transformers, mmdet, onnxruntime, openvino; without mmdet nothing is compiled
#               (default: all of them)
#   ARGS="..."  further arguments of run_bench.py, or of pytest
# A third, `make env LIB=ultralytics`, makes an environment in .venv-ultralytics for a library whose licence, AGPL-3.0, is
# for you to accept; set-up never installs it.
VENV ?= .venv

.PHONY: bench test lint setup for_tests env

bench: setup
	@$(VENV)/bin/python run_bench.py $(ARGS)

# The tests of the wall clock run alone; the others, also those of processor time and memory, run in two processes. Real
# processes, servers and clocks take part, and other work of the machine disturbs them: a test that fails is run again, and
# named at the end as one that was. The commands that tests start keep our compiled modules, also where Python is told
# to write none: each would compile them anew.
CLOCKED := model_thread reading_speed rle_speed slots_speed statistics_speed
ifneq ($(wildcard /dev/nvidiactl),)
CLOCKED += agreement evaluation_speed  # a GPU's work is timed by the wall clock
endif
ALONE := $(patsubst %,tests/benchmarks/test_%.py,$(CLOCKED))

test: export PYTHONDONTWRITEBYTECODE :=
test: for_tests
ifdef ARGS
	@$(VENV)/bin/python -m pytest $(ARGS)
else
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal -raR --reruns 2 $(addprefix --ignore=,$(ALONE))
	@$(VENV)/bin/python -m pytest -raR --reruns 2 $(ALONE)
endif

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@MYPYPATH=tests/cases:tests/toys:. $(VENV)/bin/mypy tests/benchmarks/*.py
	@PYTHONPATH=. $(VENV)/bin/lint-imports

setup:
	@./setup.sh $(VENV) $(LIBS)

# Servers and tools that only tests start.
for_tests: setup
	@cmp -s requirements/tests.txt $(VENV)/.maskbench-tests || { \
	  echo "maskbench set-up: what only the tests start, as MLflow (about a minute)" >&2; \
	  { $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input -r requirements/tests.txt \
	      >$(VENV)/tests.log 2>&1 || { tail -n 40 $(VENV)/tests.log >&2; exit 1; }; } && \
	  cp requirements/tests.txt $(VENV)/.maskbench-tests; }

env:
	@./environment.sh "$(LIB)"
