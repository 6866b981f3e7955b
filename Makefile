PYTHON ?= python3
CORES ?= all
MINUTES ?= 30
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --quiet rules --rerun-incomplete
CONSTRAINTS ?= constraints.txt
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# Where bytecode is not to be written, each of the many processes would compile all of its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: book preview reproduce queue pdf release links test test-slow lab bench clean

book: .venv/.installed
	$(SNAKEMAKE) -- book
	@echo "Open _build/html/index.html, or serve it: $(BIN)/python -m http.server --directory _build/html"

# The book from committed records alone; nothing is trained but the example of `nlkit clean`.
preview: .venv/.installed
	$(SNAKEMAKE) --config fresh=none -- book

# Every cell on digits that has a page is trained anew.
reproduce: .venv/.installed
	$(SNAKEMAKE) --config fresh=all -- book

# The most valuable runs of the papers that fit into a time: make queue MINUTES=30. The next call goes on.
queue: .venv/.installed
	$(BIN)/python -m benchmarks.queue --minutes $(MINUTES)

# The built book on paper: _build/book.pdf. It needs Chromium or Chrome.
pdf: .venv/.installed
	$(BIN)/python book/print.py

# All that is published, of one commit, in dist/.
release:
	@test -z "$$(git status --porcelain)" || { echo "release: commit or remove these files first:"; git status --short; exit 1; }
	$(MAKE) book
	$(MAKE) pdf
	rm -rf dist && mkdir dist
	cp _build/book.pdf dist/
	cd _build && ../$(BIN)/python -m zipfile -c ../dist/book-html.zip html
	git archive --output dist/notebooks.zip HEAD notebooks params LICENSE
	git archive --output dist/records.zip HEAD results LICENSE
	git archive --output dist/source.tar.gz --prefix nlkit-$(VERSION)/ HEAD
	cd dist && { echo "version $(VERSION)"; git log -1 --format="commit %H%ndate %cI"; wc -c *.*; } > MANIFEST
	cd dist && sha256sum MANIFEST *.* > SHA256SUMS

# Every link to another host is tried; the book is built already.
links: .venv/.installed
	$(BIN)/jupyter-book build . --toc book/_generated/_toc.yml --builder linkcheck --path-output _build/links

# Tests run side by side, so each process computes with one thread.
test test-slow: export OMP_NUM_THREADS = 1

test: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -p no:nbval -n auto --dist worksteal
	$(BIN)/python -m pytest -n auto --dist loadfile --nbval-lax --nbval-cell-timeout 600 notebooks

test-slow: .venv/.installed
	$(BIN)/python -m pytest -p no:nbval -n auto --dist worksteal -m slow

lab: .venv/.installed
	$(BIN)/jupyter lab notebooks

# Rows of benchmarks/results.csv, in about ten minutes of an idle machine with two cores.
bench: .venv/.installed
	$(BIN)/python -m benchmarks.phases
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.epoch

# Trained runs and encoders stay in runs/.
clean:
	rm -rf .venv _build dist .snakemake book/pages book/_generated

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) --editable ".[book,test]"
	touch $@
