"""A Sphinx extension: search engines show the first paragraph of a page below its title."""

from __future__ import annotations

import html
from textwrap import shorten
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import clean_astext

LENGTH = 160
"""Characters of a description; more is not shown."""


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Add the description to the head of a page that has none of its own and begins with text."""
    if tree is None or 'name="description"' in context["metatags"]:
        return
    first = next((one for one in tree.findall(nodes.paragraph) if not one.next_node(nodes.math)), None)
    if first is not None:
        title = f"{tree.next_node(nodes.title).astext()}: " if "-" in page else ""  # runs of a method begin alike
        text = shorten(title + clean_astext(first), LENGTH, placeholder=" …")
        context["metatags"] += f'<meta name="description" content="{html.escape(text)}">\n'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
