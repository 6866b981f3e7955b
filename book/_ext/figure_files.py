"""A Sphinx extension: below each figure stand its files, the drawing and the numbers that it shows.

The numbers come with the outputs of executed notebooks, or lie beside the figures of chapters. They are packed, since
unpacked they would weigh as much as all figures; a script of the page unpacks them when they are asked for, and makes a
PNG. A figure of photographs or of thousands of points leads to the record instead, from which it is drawn.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx

FIGURE = re.compile(r"<figure\b(?:(?!</figure>).)*?</figcaption>", re.DOTALL)
IMAGE = re.compile(r'src="((?:\.\./)*)_images/([\w.+-]+)\.(\w+)"')


def numbers(app: Sphinx, page: str) -> dict[str, str]:
    """CSV of the figures of a page, by the names that MyST-NB and Sphinx give to their drawings."""
    made, notebook = Path(app.srcdir, "book", "_generated"), Path(app.srcdir, f"{page}.ipynb")
    found = {path.stem: path.read_text(encoding="utf-8") for path in made.glob("*.csv")}
    cells = nbformat.read(notebook, as_version=4).cells if notebook.is_file() else []
    for one in (one for cell in cells for one in cell.get("outputs", []) if one.get("metadata", {}).get("csv")):
        drawing = "\n".join(one.data["image/svg+xml"].splitlines())
        found[hashlib.sha256(drawing.encode()).hexdigest()] = one.metadata["csv"]
    return {name: text for name, text in found.items() if text}


def offer(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Put the links to its files below each figure of a page, and write its numbers."""
    tables, body = numbers(app, page), context.get("body", "")
    name, count = page.rsplit("/", 1)[-1], 0
    records = sorted(Path(app.srcdir, "book", "_generated", "extra").glob(f"downloads/records/{name}-seed-*"))

    def extended(figure: re.Match[str]) -> str:
        nonlocal count
        image = IMAGE.search(figure[0])
        if image is None:
            return figure[0]
        root, stem, kind = image.groups()
        count += 1
        links = [link(f"{root}_images/{stem}.{kind}", f"{name}-{count}.{kind}", kind.upper(), "this figure")]
        if stem in tables:
            packed = gzip.compress(tables[stem].encode(), mtime=0)
            Path(app.outdir, "_images").mkdir(parents=True, exist_ok=True)
            Path(app.outdir, "_images", f"{stem}.csv.gz").write_bytes(packed)
            links.append(link(f"{root}_images/{stem}.csv.gz", f"{name}-{count}.csv.gz", "CSV", "the numbers it shows"))
        elif records:
            address = f"{root}downloads/records/{records[0].name}"
            links.append(link(address, records[0].name, "record", "the record that this figure is drawn from"))
        return figure[0].replace("</figcaption>", f'<p class="nlkit-files">{" ".join(links)}</p>\n</figcaption>')

    context["body"] = FIGURE.sub(extended, body)


def link(address: str, name: str, text: str, title: str) -> str:
    """A link that saves a file under a name."""
    return f'<a href="{address}" download="{html.escape(name)}" title="Download {title}">{text}</a>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", offer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
