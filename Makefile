# Every target sets up what it needs, in a virtual environment of its own; the second run is quick.
#
#   make demo     connect for 20 s while tokens rotate, beside the usual way of doing it
#   make test     all tests
#   make check    what CI runs: lint, types, tests on every supported Python and both ends of SQLAlchemy
#   make bench    the benchmarks, and the tables and plots of the documentation; bench-quick for a look
#   make soak     connect for a minute while tokens, keys, endpoints and servers fail
#   make docs     the documentation, into docs/_build/html
#   make release-check   build what would be released, and look at it from all sides
#   make suite    SQLAlchemy's own dialect tests, without and with the refresher: the same?

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
# What to test: the checkout, or a built wheel; with which SQLAlchemy.
PACKAGE ?= -e .
SQLALCHEMY ?= sqlalchemy
PYTEST ?= $(BIN)/python -m pytest
WORKERS ?= 4

BIN = $(VENV)/bin
# The SDK's bytecode is compiled once, and not by each of the many processes of the tests.
INSTALL = UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: demo test check lint types docs coverage matrix bench bench-quick soak suite release-check clean

demo: $(VENV)/.demo
	@$(BIN)/rds-iam-async demo $(ARGS)

test: $(VENV)/.test
	$(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

check: lint types docs release-check coverage matrix

lint: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.check
	rm -rf docs/_build/html
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

coverage: $(VENV)/.check
	rm -f .coverage .coverage.*
	$(MAKE) test PYTEST="$(BIN)/python -m coverage run -m pytest" VENV=$(VENV)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

matrix: $(VENV)/.check
	PYTHONS="$(PYTHONS)" UV=$(abspath $(BIN)/uv) DONE="$$($(BIN)/python -c \
		'import sys; print("%d.%d" % sys.version_info[:2])')-newest" .ci/matrix

BENCHMARKS = hot_path startup size gate connect_latency loop_stall herd fleet
bench: $(VENV)/.check
	set -e; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py; done
	$(BIN)/python benchmarks/plots.py

# Writes nothing that is committed.
bench-quick: $(VENV)/.check
	set -e; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --quick; done

soak: $(VENV)/.check
	$(BIN)/python benchmarks/soak.py $(ARGS)

SUITES = 2.0 2.1
DRIVER ?= asyncpg
suite:
	@for version in $(SUITES); do $(MAKE) --no-print-directory VENV=.envs/suite-$$version \
		SQLALCHEMY="sqlalchemy==$$version.*" .envs/suite-$$version/.suite || exit 1; done
	.envs/suite-$(lastword $(SUITES))/bin/python suite/run.py $(DRIVER) \
		$(SUITES:%=.envs/suite-%/bin/python)

# Offline: what it needs was installed with the rest. TAG=v1.2.3 for what a tag would release.
TYPED = $(abspath .envs/typed)
TYPED_EXTRAS = cli,local,otel,prometheus
release-check: $(VENV)/.check
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python .ci/check_distributions.py dist $(TAG)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(TYPED)
	$(BIN)/uv pip install --quiet --offline --python $(TYPED)/bin/python "$$(echo dist/*.whl)[$(TYPED_EXTRAS)]"
	cd $(TYPED) && PATH=$(TYPED)/bin:$$PATH $(abspath $(BIN))/pyright --verifytypes rds_iam_async --ignoreexternal
	$(TYPED)/bin/rds-iam-async --version

clean:
	rm -rf .venv .envs dist docs/_build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Virtual environments

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml
	$(INSTALL) -e '.[cli,local]'
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml
	$(INSTALL) $(PACKAGE)'[cli,local]' '$(SQLALCHEMY)' --group test
	@touch $@ $(VENV)/.demo

$(VENV)/.check: $(VENV)/.created pyproject.toml
	$(INSTALL) -e '.[cli,local]' --group check
	@touch $@ $(VENV)/.test $(VENV)/.demo

$(VENV)/.suite: $(VENV)/.created pyproject.toml
	$(INSTALL) $(PACKAGE)'[local]' '$(SQLALCHEMY)' 'psycopg[binary]' pytest
	@touch $@
