"""A Sphinx extension: notebooks that pages offer for download carry no outputs, which stand in the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx


def clear_outputs(app: Sphinx, error: Exception | None) -> None:
    """Empty the copies of the notebooks in a finished build."""
    for path in [] if error else Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.get("outputs")]
        for cell in cells:
            cell.update(outputs=[], execution_count=None)
        if cells:
            nbformat.write(notebook, path)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", clear_outputs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
