"""A Sphinx extension that serves MathJax from the book itself, so that formulas need no other host.

The files are those of MathJax 3 that the package `sphinx-mathjax-offline` installs. Only the parts that set TeX,
and the fonts, are copied into the built book, 1.2 MB out of 24; nothing of it enters the repository.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
SCRIPT = "startup.js"
LOADED = ["input/tex", "output/chtml", "a11y/assistive-mml"]
PARTS = ["core", *LOADED, "output/chtml/fonts/tex"]
FONTS = "output/chtml/fonts/woff-v2"

SETTINGS: dict[str, Any] = {
    # All in one file would be a third heavier: it has a menu. Hidden MathML for screen readers stays.
    "loader": {"load": ["core", *LOADED], "dependencies": {name: ["core"] for name in LOADED}},
}


def mathjax_source() -> Path:
    """The folder of the installed MathJax files; raises ExtensionError where they are missing."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError(f"MathJax is missing: install the package {PACKAGE}")
    source = Path(spec.submodule_search_locations[0]) / "static" / "mathjax"
    if not (source / SCRIPT).is_file() or not (source / FONTS).is_dir():
        raise ExtensionError(f"MathJax is incomplete: install the package {PACKAGE} anew")
    return source


def configure(app: Sphinx, config: Config) -> None:
    """Point sphinx.ext.mathjax at the local copy."""
    config["mathjax_path"] = f"mathjax/{SCRIPT}"
    config["mathjax3_config"] = SETTINGS


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy the script and its fonts beside the other static files of a finished HTML build."""
    if error is not None or app.builder.format != "html":
        return
    source, target = mathjax_source(), Path(app.outdir) / "_static" / "mathjax"
    shutil.copytree(source / FONTS, target / FONTS, dirs_exist_ok=True)
    for name in (SCRIPT, *(f"{part}.js" for part in PARTS)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.mathjax")
    app.connect("config-inited", configure)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
