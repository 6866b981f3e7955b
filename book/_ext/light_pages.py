"""A Sphinx extension: readers load no more than a page needs.

The theme draws its icons twice, from a font and by a script of 1.5 MB; the script goes, and so does MathJax from a page
without formulas. The theme's second title and contents for paper go, since `print.css` shows those of the page. What
unfolds a chapter in the navigation is named after it. Notebooks for download carry no outputs, which stand in the pages
already.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx

ICONS = re.compile(
    r'\s*<script src="[^"]*fontawesome[^"]*\.js[^"]*"></script>|\s*<link rel="preload"[^>]*fontawesome[^>]*>'
)
SECOND_TITLE = re.compile(r'<div id="jb-print-docs-body".*?(?=<div id="searchbox">)', re.DOTALL)
FOLD = re.compile(r"(>([^<>]+)</a><details[^>]*>)<summary>")
MATHJAX = re.compile(r'\s*<script[^>]*src="[^"]*mathjax/tex-chtml\.js[^"]*"></script>')


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Go over the files of a finished build; those of an earlier one stay as they are."""
    if error is not None:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        lighter = FOLD.sub(r'\1<summary aria-label="Pages of \2">', SECOND_TITLE.sub("", ICONS.sub("", text)))
        if 'class="math' not in text:
            lighter = MATHJAX.sub("", lighter)
        if lighter != text:
            path.write_text(lighter, encoding="utf-8")
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.get("outputs")]
        for cell in cells:
            cell.update(outputs=[], execution_count=None)
        if cells:
            nbformat.write(notebook, path)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", lighten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
