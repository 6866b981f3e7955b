"""Pages are made: notebooks in warm kernels see a fresh state, failures are named; figures get compact; a PDF."""

import base64
import importlib
import io
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import tiny
import yaml
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from fuzzing import refused
from PIL import Image

pytest.importorskip("papermill", reason="the package papermill is not installed")
from nlbook import pages, svg
from nlkit import figures


def write(name: str, *sources: str) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# Title\n\ntext"), *map(nbformat.v4.new_code_cell, sources)]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, f"notebooks/{name}.ipynb")


def printed(name: str) -> str:
    return "".join(one.get("text", "") for one in outputs(f"book/pages/{name}.ipynb"))


def outputs(path: str) -> list[Any]:
    cells = nbformat.read(path, as_version=4).cells
    return [one for cell in cells if cell.cell_type == "code" for one in cell.outputs]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("notebooks", "params/toy", "results"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_notebook_sees_nothing_of_the_one_before_and_only_what_changed_is_executed(project: Path) -> None:
    write("first", "import os\nos.chdir('/')\nname = 1\nprint('once')")
    write("second", "import os\nprint('name' in globals(), len(In), os.getcwd())")
    assert pages.make(["first", "second"], 1) == []
    assert printed("second").split() == ["False", "2", str(project)]
    before = {path: path.stat().st_mtime_ns for path in Path("book/pages").iterdir()}
    write("second", "print('new')")
    assert pages.make(["first", "second"], 2) == []
    assert printed("second") == "new\n"
    changed = [path.stem for path in Path("book/pages").iterdir() if path.stat().st_mtime_ns != before[path]]
    assert changed == ["second"]
    Path("benchmarks").mkdir()
    Path("benchmarks/results.csv").write_text("a row")  # which pages that are of no run may show
    assert pages.make(["first"], 1) == []
    assert Path("book/pages/first.ipynb").stat().st_mtime_ns != before[Path("book/pages/first.ipynb")]


def test_what_fails_is_named_and_kept_and_the_others_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    write("bad", "print('before')", "raise ValueError('on purpose')", "print('after')")
    write("good", "print(1)")
    assert pages.make(["bad", "good"], 1) == ["bad"]
    assert "page bad" in capsys.readouterr().err
    assert not Path("book/pages/bad.ipynb").exists() and printed("good") == "1\n"
    assert [one.output_type for one in outputs("runs/logs/bad.ipynb")] == ["stream", "error"]


def test_a_page_of_a_run_gets_its_parameters_and_its_cell_in_the_title() -> None:
    write("toy", "# Parameters\nparams = 'toy/other'", "print(cell, seed)")
    notebook = nbformat.read("notebooks/toy.ipynb", as_version=4)
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, "notebooks/toy.ipynb")
    Path("params/toy/digits-sym-50.yaml").write_text("cell: digits-sym-50\nseed: 3\n")
    assert pages.make(["toy-digits-sym-50"], 1) == []
    page = nbformat.read("book/pages/toy-digits-sym-50.ipynb", as_version=4)
    assert page.cells[0].source == "# Title: digits-sym-50\n\ntext"
    assert printed("toy-digits-sym-50") == "digits-sym-50 3\n"
    assert [tags for cell in page.cells if (tags := cell.metadata.get("tags"))] == [["parameters", "hide-input"]]


def figure() -> str:
    """Lines, marks, hatched bars, links, rotated words, and two images, of few and of many colours."""
    figures.use_book_style()
    plt.rcParams["svg.hashsalt"] = "test"
    rng, file = np.random.default_rng(0), io.StringIO()
    drawn, (left, middle, right) = plt.subplots(1, 3)
    left.plot(rng.normal(size=500), "-o", label="a curve")
    left.fill_between(range(30), rng.random(30), alpha=0.5)
    left.set_ylabel("turned")
    left.set_xscale("symlog")  # its powers of ten have a family of their own, which begins like that of all words
    left.bar(range(3), range(3), hatch="//")  # its colours are attributes
    left.scatter([1], [1]).set_urls(["#elsewhere"])
    left.legend(title='"#quoted"')
    middle.imshow(rng.integers(0, 2, (9, 9)), interpolation="none")
    right.imshow(rng.integers(0, 256, (32, 32, 3), np.uint8), interpolation="none")
    drawn.savefig(file, format="svg")
    plt.close(drawn)
    return file.getvalue()


def points(path: str) -> np.ndarray:
    """The absolute points [N, 2] of a path of absolute or of relative commands."""
    pen = RecordingPen()
    parse_path(path, pen)
    return np.array([point for _, points in pen.value for point in points])


def pixels(text: str) -> list[np.ndarray]:
    codes = re.findall(r'image/png;base64,([^"]*)', text)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA")) for code in codes]


def test_no_pixel_and_no_word_changes_paths_stay_within_a_hundredth_of_a_point_and_less_is_left() -> None:
    before = figure()
    after = svg.compact(before)
    assert all(map(np.array_equal, pixels(before), pixels(after))) and len(pixels(after)) == 2
    for pattern in (r">([^<>\s][^<>]*)</text>", r"font-size: [\d.]+px", r'viewBox="[^"]*"', r"stroke-width: [\d.]+"):
        found = re.findall(pattern, before)
        assert found and {*re.findall(pattern, after)} == {*found}
    rules = dict(re.findall(r"\.(s\d+){([^}]*)}", after))
    styles = re.findall(r'<(?!use)\w+[^>]* style="([^"]*)"', before)  # marks have theirs where they are drawn, too
    after_all = [rules[name] for name in re.findall(r'<(?!use)\w+[^>]* class="(s\d+)"', after)]
    assert [re.sub(r"#\w+\)", "", one) for one in after_all] == [re.sub(r"#\w+\)", "", one) for one in styles]
    names = {*re.findall(r'(?<= id=")\w+', after)}
    assert {*re.findall(r'(?<=href="#)\w+|(?<=url\(#)\w+', after)} <= names | {"elsewhere"}
    assert len(after) < 0.8 * len(before)
    closed = "M 1 2 Q 3 4 5 6 z M 7 8 C 1 1 2 2 3 3 z L 4 5"
    paths, compact = (re.findall(r' d="([^"]*)"', text) for text in (before, after))
    assert len(paths) == len(compact) > 10
    for old, new in zip([closed, *paths], [svg.relative(closed), *compact], strict=True):
        np.testing.assert_allclose(points(new), points(old), atol=0.00501)


CHAPTERS = {
    "book/index": '<h1 id="a">Welcome</h1><a href="one.html#a">to the first</a> <a href="pages/tcl-x.html">a run</a>',
    "book/one": '<h1 id="a">First<a class="headerlink" href="#a">#</a></h1><details>held</details>',
    "book/pages/tcl-x": '<h1 id="a">A run</h1>',
    "book/two": '<h1 id="a">Second</h1><table><tr>' + "<td>wide words</td>" * 20 + "<td>end</td></tr></table>",
}


@pytest.mark.browser
def test_chapters_are_printed_whole_with_contents_links_outline_and_fonts(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny.ROOT / "book")
        printing = importlib.import_module("print")
    refused(lambda: printing.print_book(tmp_path), r"index\.html is missing: run `make book` first")
    pypdf = pytest.importorskip("pypdf", reason="the package pypdf is not installed")
    if not any(map(shutil.which, printing.BROWSERS)):
        pytest.skip("no Chromium on this machine")
    html, chapters = tmp_path / "_build" / "html", [{"file": "book/one"}, {"file": "book/two"}]
    chapters[0]["sections"] = [{"file": "book/pages/tcl-x"}]  # type: ignore[assignment]
    toc = yaml.safe_dump({"root": "book/index", "parts": [{"caption": "Part", "chapters": chapters}]})
    sheet = (tiny.ROOT / "book" / "_static" / "print.css").read_text(encoding="utf-8")
    files = {"_config.yml": "title: Tiny", "book/_generated/_toc.yml": toc, "_build/html/print.css": sheet}
    head = '<head><link rel="stylesheet" href="/print.css"></head>'
    body = '<article class="bd-article"><section>{}</section></article>'
    pages = {f"{name}.html": head + body.format(text) for name, text in CHAPTERS.items()}
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
