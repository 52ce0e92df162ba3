# Needs make, Python 3.11 or later and its venv module (Debian: python3-venv). All else is fetched into .venv.

PYTHON ?= python3
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 300
PYTEST_ARGS ?=

.PHONY: all demo test coverage check golden elements bench fuzz install clean

all: .venv/run

# bin/of-* run the checkout itself, so .venv holds what it needs and never a copy of it that could grow stale.
# The requirements are those of pyproject.toml, in the form that pip 23.0 of Debian 12 can take.
define REQUIREMENTS
import sys
try:
    import tomllib
except ImportError:
    sys.exit(f"Python 3.11 or later is needed, and $(PYTHON) is {sys.version.split()[0]}; try: make PYTHON=python3.12")
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
wanted = [line for name in sys.argv[1:] for line in extras[name] if not line.startswith(project["name"])]
print(*(wanted or project["dependencies"]), sep="\n")
endef
export REQUIREMENTS
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check

.venv/run: pyproject.toml
	mkdir -p .venv
	$(PYTHON) -c "$$REQUIREMENTS" >.venv/requirements
	$(PYTHON) -m venv .venv
	$(PIP) install -r .venv/requirements
	touch $@

.venv/dev: .venv/run
	$(PYTHON) -c "$$REQUIREMENTS" zstd progress fast age dev >.venv/requirements-dev
	$(PIP) install -r .venv/requirements -r .venv/requirements-dev
	touch $@

demo: .venv/run
	bash tests/demo.sh

test: .venv/dev
	.venv/bin/python -m pytest $(PYTEST_ARGS)

coverage: .venv/dev
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest $(PYTEST_ARGS)
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report --skip-covered

check: .venv/dev
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	@if command -v mandoc >/dev/null; then echo mandoc -T lint -W warning man/*; mandoc -T lint -W warning man/*; \
	else echo "mandoc is not installed: man pages not checked"; fi
	@if command -v shellcheck >/dev/null; then echo shellcheck bin/of tests/demo.sh .ci/run; \
	shellcheck bin/of tests/demo.sh .ci/run; else echo "shellcheck is not installed: shell scripts not checked"; fi

# Writes what the commands do now into tests/golden; git diff shows what that changes.
golden: .venv/dev
	.venv/bin/python -m pytest tests/test_golden.py --rewrite

# Writes the table of information elements anew, from the registries in OF_CORPORA.
elements: .venv/dev
	.venv/bin/python tests/make_elements.py "$$OF_CORPORA"

bench: .venv/dev .venv/bench
	PYTHONPATH=. .venv/bin/python tests/bench/bench.py

# A peer of of-decode, kept out of our own environment.
.venv/bench:
	$(PYTHON) -m venv $@
	-$@/bin/python -m pip --quiet --disable-pip-version-check install netflow==0.12.2

fuzz: .venv/dev
	.venv/bin/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

# A venv of its own, links to its commands, and the man pages. make install PREFIX="$$HOME/.local" needs no root.
install:
	$(PYTHON) -m venv "$(PREFIX)/lib/overflowd-tools"
	"$(PREFIX)/lib/overflowd-tools/bin/python" -m pip --quiet --disable-pip-version-check install '.[zstd,progress,fast,age]'
	mkdir -p "$(PREFIX)/bin"
	for command in bin/of-*; do ln -sf "../lib/overflowd-tools/$$command" "$(PREFIX)/bin/" || exit; done
	for page in man/*; do \
		directory="$(PREFIX)/share/man/man$${page##*.}"; \
		mkdir -p "$$directory" && install -m 644 "$$page" "$$directory/" || exit; \
	done

clean:
	rm -rf .venv .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
