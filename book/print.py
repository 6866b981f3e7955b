"""The built book as a PDF: all chapters in one document, printed by headless Chromium.

`python book/print.py` reads `_build/html` and writes `_build/book.pdf`. The pages of single runs are left out: they are
ten times as long as the chapters. A link to one of them becomes plain text.
"""

from __future__ import annotations

import io
import shutil
import sys
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from jinja2 import Template
from playwright.sync_api import Page, Route, sync_playwright
from pypdf import PdfReader

from nlbook import contents
from nlkit.errors import NlkitError
from nlkit.files import commit, project_root, write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADDRESS = "http://book.invalid/"
Parts = dict[str, list[str]]
"""Pages without a suffix, by the caption of their part; those before the first part have none."""


def printed_parts(toc: dict[str, Any]) -> Parts:
    """The chapters in reading order, without the pages of single runs."""

    def below(entry: dict[str, Any]) -> list[str]:
        inner = [page for one in entry.get("sections", []) for page in below(one)]
        return [*([] if contents.is_run(Path(entry["file"]).name) else [entry["file"]]), *inner]

    parts = {part["caption"]: [page for one in part["chapters"] for page in below(one)] for part in toc["parts"]}
    return {"": [toc["root"]], **parts}


def anchor(page: str, name: str = "") -> str:
    """The identifier of a page in the document, or of what bears a name on it."""
    return page.replace("/", "-") + (f"--{name}" if name else "")


def article(html: Path, page: str, printed: list[str]) -> Tag:
    """The text of a built page, its identifiers made unique, links led to the printed chapters, folds opened."""
    found = BeautifulSoup((html / f"{page}.html").read_text(encoding="utf-8"), "html.parser").select_one("article")
    assert found is not None
    for needless in found.select(".headerlink"):
        needless.decompose()
    for one in found.select("[id]:not(.nlkit-viewer, .nlkit-viewer + script)"):
        one["id"] = anchor(page, str(one["id"]))
    for link in found.select("a[href]"):
        _lead(link, page, printed)
    for image in found.select("img[src]"):
        image["src"] = urljoin(f"/{page}.html", str(image["src"]))
    for fold in found.select("details"):
        fold["open"] = ""
    found["id"] = anchor(page)
    return found


def _lead(link: Tag, page: str, printed: list[str]) -> None:
    """Lead a link to its chapter in the document; other hosts stay, what is not printed becomes text."""
    parts = urlsplit(urljoin(f"/{page}.html", str(link["href"])))
    target = parts.path.removeprefix("/").removesuffix(".html")
    if not parts.scheme and target in printed:
        link["href"] = f"#{anchor(target, parts.fragment)}"
    elif not parts.scheme:
        link.unwrap()


def document(html: Path, parts: Parts, title: str) -> str:
    """All chapters as one HTML document, behind a title page and the contents."""
    printed = [page for pages in parts.values() for page in pages]
    articles = {page: article(html, page, printed) for page in printed}
    made = f"Release {version('nlkit')}, {datetime.now(UTC):%d %B %Y}, commit {(commit() or 'unknown')[:12]}"
    shown = {"head": _head(html, printed), "title": title, "made": made, "parts": parts, "articles": articles}
    return Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8")).render(shown, anchor=anchor)


def _head(html: Path, printed: list[str]) -> list[Tag]:
    """Style sheets and MathJax of the first page with formulas, if there is one."""
    texts = {page: (html / f"{page}.html").read_text(encoding="utf-8") for page in printed}
    first = next((page for page, text in texts.items() if "mathjax/" in text), printed[0])
    found = BeautifulSoup(texts[first], "html.parser").select("head link[rel=stylesheet], head script")
    needed = [one for one in found if one.name == "link" or "mathjax" in str(one).lower()]
    for one, name in ((one, name) for one in needed for name in ("href", "src") if one.has_attr(name)):
        one[name] = urljoin(f"/{first}.html", str(one[name]))
    return needed


def page_numbers(pdf: bytes) -> dict[str, int]:
    """The number of the page on which each link's target stands."""
    reader = PdfReader(io.BytesIO(pdf))
    places = {name: reader.get_destination_page_number(place) for name, place in reader.named_destinations.items()}
    return {name.removeprefix("/"): (place or 0) + 1 for name, place in places.items()}


def printed_pdf(page: Page) -> bytes:
    """What is on a page of the browser as a PDF, with the numbers of pages in its contents."""

    once = partial(page.pdf, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    page.evaluate("number", page_numbers(once()))
    return once()


def print_book(root: Path) -> Path:
    """Write `_build/book.pdf` from the built pages; raises NlkitError where there are none, or no browser."""
    html, toc = root / "_build" / "html", root / "book" / "_generated" / "_toc.yml"
    if not (html / "index.html").is_file() or not toc.is_file():
        raise NlkitError(f"{html / 'index.html'} is missing: run `make book` first")
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise NlkitError(f"a PDF needs a browser, and none is installed: one of {', '.join(BROWSERS)}")
    title = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["title"]
    text = document(html, printed_parts(yaml.safe_load(toc.read_text(encoding="utf-8"))), title)

    def serve(route: Route) -> None:
        path = html / unquote(urlsplit(route.request.url).path).removeprefix("/")
        if route.request.url == ADDRESS:
            route.fulfill(body=text, content_type="text/html")
        else:
            route.fulfill(path=path) if path.is_file() else route.abort()

    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.set_default_timeout(600_000)
        page.set_viewport_size({"width": 658, "height": 1000})  # what is between the margins of `print.css`
        page.emulate_media(media="print", color_scheme="light")
        page.route("**/*", serve)
        page.goto(ADDRESS)
        page.evaluate("prepare()")
        write_atomically(root / "_build" / "book.pdf", printed_pdf(page))
    return root / "_build" / "book.pdf"


if __name__ == "__main__":
    try:
        print(print_book(project_root()))
    except NlkitError as error:
        sys.exit(str(error))
