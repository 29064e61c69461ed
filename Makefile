.POSIX:
.PHONY: run test fast soak setup clean

USE_CASE = payments
BIN = .venv/bin
# Which files stay together, and which begin, is said in tests/conftest.py.
PARALLEL = -n 2 --dist loadfile --no-loadscope-reorder

# Install what is missing, then do the whole job once: `make run`, or `make run USE_CASE=flights`.
run: setup
	@$(BIN)/contender run $(USE_CASE)

# Everything that has to hold before a change lands.
test:
	@bin/setup --dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL) -m "not soak"

# The tests that need no Spark, no server and no network.
fast:
	@bin/setup --dev
	$(BIN)/pytest $(PARALLEL) -m "not slow and not soak"

# What takes too long for every change: kill loops, the whole loop by itself, products of faults, all real data.
soak:
	@bin/setup --dev
	$(BIN)/pytest $(PARALLEL) -m soak

setup:
	@bin/setup

# Remove what setup installed and what the tools left behind; use cases and .contender/ stay.
clean:
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
