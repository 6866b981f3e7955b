"""The book as a PDF, made of a tiny site."""

import importlib
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import refused

pytestmark = pytest.mark.browser
pypdf = pytest.importorskip("pypdf", reason="the package pypdf is not installed")
ROOT = Path(__file__).parents[2]
PAGES = {
    "book/index": '<h1 id="a">Welcome</h1><a href="one.html#a">to the first</a> <a href="pages/tcl-x.html">a run</a>',
    "book/one": '<h1 id="a">First<a class="headerlink" href="#a">#</a></h1><details>held</details>',
    "book/pages/tcl-x": '<h1 id="a">A run</h1>',
    "book/two": '<h1 id="a">Second</h1><table><tr>' + "<td>wide words</td>" * 20 + "<td>end</td></tr></table>",
}


@pytest.fixture(scope="module")
def printing() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "book")
        return importlib.import_module("print")


def test_a_book_that_is_not_built_is_named(printing: Any, tmp_path: Path) -> None:
    refused(lambda: printing.print_book(tmp_path), r"index\.html is missing: run `make book` first")


def test_chapters_are_printed_whole_with_contents_links_outline_and_fonts(printing: Any, tmp_path: Path) -> None:
    if not any(map(shutil.which, printing.BROWSERS)):
        pytest.skip("no Chromium on this machine")
    html, chapters = tmp_path / "_build" / "html", [{"file": "book/one"}, {"file": "book/two"}]
    chapters[0]["sections"] = [{"file": "book/pages/tcl-x"}]  # type: ignore[assignment]
    toc = yaml.safe_dump({"root": "book/index", "parts": [{"caption": "Part", "chapters": chapters}]})
    sheet = (ROOT / "book" / "_static" / "print.css").read_text(encoding="utf-8")
    files = {"_config.yml": "title: Tiny", "book/_generated/_toc.yml": toc, "_build/html/print.css": sheet}
    head = '<head><link rel="stylesheet" href="/print.css"></head>'
    body = '<article class="bd-article"><section>{}</section></article>'
    pages = {f"{name}.html": head + body.format(text) for name, text in PAGES.items()}
    files |= {f"_build/html/{name}": text for name, text in ({"index.html": ""} | pages).items()}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    with ThreadPoolExecutor(1) as thread:  # Playwright wants one of its own beside that of the other tests
        reader = pypdf.PdfReader(thread.submit(printing.print_book, tmp_path).result())
    texts = [page.extract_text() for page in reader.pages]
    assert len(texts) == 5 and "A run" not in "".join(texts)
    found = re.findall(r"(Welcome|First|Second)\s*(\d+)", texts[1])
    assert found == [("Welcome", "3"), ("First", "4"), ("Second", "5")]
    assert "held" in texts[3] and "#" not in texts[3] and "end" in texts[4]
    assert [one.title for one in reader.outline] == ["Contents", "Welcome", "First", "Second"]
    links = [one.get_object() for page in reader.pages for one in page.get("/Annots", [])]
    assert len(links) == 4  # three entries of the contents, and the link to the first chapter; not that to the run
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"].get("/Font", {}).values()]
    inner = [one.get_object()["/FontDescriptor"] for font in fonts for one in font.get("/DescendantFonts", [])]
    assert inner and all({"/FontFile2", "/FontFile3"} & {*one} for one in inner)
    assert html.is_dir() and sorted(path.name for path in html.iterdir()) == ["book", "index.html", "print.css"]
