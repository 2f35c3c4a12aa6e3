PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Files that take long come first, so that no worker ends minutes after the other.
SLOW_TESTS := tests/training tests/trials tests/distribution $(wildcard tests/test_*.py) tests/bulk tests/cli
# What the model runs, on JAX: what everything else stands on, and the rest.
BACKEND_TESTS := tests/weights/test_small_checkpoints.py $(addprefix tests/model/test_,center_net.py accumulation.py averaging.py losses.py hourglass.py) tests/codec tests/training/test_optimizer.py
MORE_BACKEND_TESTS := tests/inference/test_augmented.py $(addprefix tests/model/test_,hourglass_104.py remat.py sparse_heads.py efficientnet.py backbones.py) tests/weights/test_zoo_models.py
OLDEST_TESTS := tests/codec tests/images tests/samples tests/formats tests/drawing tests/tfrecord tests/evaluation

.PHONY: demo test test-long docs claims bench package oldest clean

demo: $(VENV)/installed  ## draw a dataset, train, evaluate and predict on it
	$(BIN)/centerkp demo

test: $(VENV)/installed  ## style, types, then the tests on TensorFlow, then the model's foundations on JAX
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python $(PYTEST) -m "not long" $(SLOW_TESTS) tests
	KERAS_BACKEND=jax $(BIN)/python $(PYTEST) -m "not long and not once" $(BACKEND_TESTS)

test-long: $(VENV)/installed  ## the tests that take longest: whole commands, killed and interrupted ones, the largest network, the rest on JAX
	$(BIN)/python $(PYTEST) -m long tests
	KERAS_BACKEND=jax $(BIN)/python $(PYTEST) -m "not once" $(MORE_BACKEND_TESTS)

docs: $(VENV)/installed  ## the documentation as a site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

claims: $(VENV)/installed  ## numbers and flags in README and docs/ anew, from the pages in benchmarks/ and the commands
	$(BIN)/python docs/claims.py

bench: $(VENV)/installed  ## measure this machine; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

package: $(VENV)/installed  ## wheel and sdist in dist/; then the wheel alone in an environment and a folder of its own: minutes
	rm -rf dist
	$(BIN)/python -m build
	$(PYTHON) tests/packaged.py dist/*.whl

oldest: $(VENV)/installed  ## quick tests with the oldest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) build/oldest
	$(BIN)/uv pip install --quiet --python build/oldest --resolution lowest-direct --editable ".[dev,sleap,tensorboard]"
	build/oldest/bin/python $(PYTEST) -m "not long" -o filterwarnings=default $(OLDEST_TESTS)

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "centerkp needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) --version`; try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV)
