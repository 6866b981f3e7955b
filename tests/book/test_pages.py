"""The built pages, read as files: complete and linked, and the notebooks that they offer run in an empty folder."""

import functools
import json
import re
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from nlbook import contents, contest, tables
from nlkit.training import records

bs4 = pytest.importorskip("bs4", reason="the package beautifulsoup4 is not installed")

ROOT = Path(__file__).parents[2]
URL = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


@functools.cache
def soup(path: Path) -> bs4.BeautifulSoup:
    return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(tag["id"] for tag in soup(path).find_all(id=True)) | {"", "top"}


def loaded(page: bs4.BeautifulSoup) -> list[str]:
    """Addresses that a browser fetches, or may fetch, without being asked."""
    tags = page.select("[src], object[data], link[href]")
    return [tag.get("src") or tag.get("data") or tag["href"] for tag in tags]


def test_a_page_has_one_title_images_with_a_description_and_links_that_lead_somewhere(html: Path, name: str) -> None:
    path = html / f"{name}.html"
    page = soup(path)
    assert len(page.select("h1")) == len(page.select("article h1")) == 1
    assert len(page.select("head meta[name=description][content]")) == 1
    assert [fold for fold in page.select("summary") if not (fold.text.strip() or fold.get("aria-label"))] == []
    assert all(tag.get("alt", tag["src"]) != tag["src"] for tag in page.select("article img"))
    assert len(page.select(".dropdown-launch-buttons")) == bool(URL and (ROOT / f"{name}.ipynb").exists())
    targets = [tag["href"] for tag in page.find_all("a", href=True)]
    assert [address for address in [*targets, *loaded(page)] if not resolves(address, path, html)] == []
    assert [address for address in loaded(page) if urlsplit(address).netloc] == [], "loaded from elsewhere"


def test_each_figure_has_its_drawing_and_its_numbers_or_its_record_for_download(html: Path, name: str) -> None:
    path = html / f"{name}.html"
    for image in soup(path).select("article figure img"):
        files = {link.text: path.parent / link["href"] for link in image.find_parent("figure").select(".nlkit-files a")}
        assert path.parent / image["src"] in files.values()
        assert {"CSV", "record", "PNG"} & {*files} or "photographs" in image["class"]
        if "CSV" in files:
            table = pd.read_csv(files["CSV"])
            assert len(table) and [*table][:3] == ["panel", "series", "kind"] and table["kind"].notna().all()
            assert not np.isinf(table.select_dtypes("number")).to_numpy().any()


def test_the_numbers_of_the_results_are_those_of_the_records(html: Path) -> None:
    """Of the committed ones: a run that was trained anew for this build stands on its own page."""
    runs, names = contest.runs_below(ROOT / "results"), {look.label: name for name, look in contest.LOOKS.items()}
    first, second, *_ = soup(html / "book/results.html").select("article table")
    for table, cells in ((first, contest.RANKED["laptop"]), (second, contest.RANKED["digits"])):
        groups = contest.contestants(runs, list(cells))
        head, *rows = [[" ".join(one.text.split()) for one in row.select("th, td")] for row in table.select("tr")]
        for cell, title in cells.items():
            for row in rows:
                label, _, one = row[0].partition(", one network")
                which = "last_single" if one or row[0] != label else "last"
                last = [run.record["accuracy"][which] for run in groups[cell].get(names[label], [])]
                spread = f" ± {np.std(last, ddof=1):.1f}" if len(last) > 1 else ""
                text = f"{np.mean(last):.1f}{spread} ({len(last)})" if last else "not run here"
                assert row[head.index(title)].removesuffix(" ≈") == text


def test_the_environment_lists_every_notebook_and_every_package(html: Path) -> None:
    rows = {row.select_one("td").text for row in soup(html / "book/environment.html").select("article tbody tr")}
    assert {*contents.run_pages(ROOT), *contents.other_pages(ROOT), "papermill", "sphinx"} <= rows


def resolves(address: str, path: Path, html: Path) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(html.resolve()):
        return False
    if target.suffix != ".html" or target.name in {"genindex.html", "search.html"}:
        return True
    return unquote(parts.fragment) in anchors(target)


def test_front_page_leads_to_the_book_and_style_sheets_load_nothing_from_elsewhere(html: Path) -> None:
    refresh = soup(html / "index.html").find("meta", attrs={"http-equiv": "Refresh"})
    assert refresh is not None and refresh["content"].endswith("url=book/index.html")
    sheets = [*html.glob("_static/*.css"), *html.glob("_static/styles/*.css")]
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8").replace(" ", "").replace('"', "").replace("'", "")
        assert "url(http" not in text and "url(//" not in text, sheet.name


def test_the_site_is_light_and_holds_nothing_that_no_page_shows(html: Path) -> None:
    assert sum(path.stat().st_size for path in html.rglob("*") if path.is_file()) <= 45_000_000
    pages = "".join(path.read_text(encoding="utf-8") for path in html.rglob("*.html"))
    kept = [*html.glob("_images/*"), *html.glob("downloads/records/*")]
    assert kept and [path.name for path in kept if path.name not in pages] == []


@pytest.mark.parametrize("cell", ["dividemix/cifar10n-worst-laptop", "elr/digits-sym-20"])
def test_the_record_that_a_page_offers_has_every_value_of_its_run(html: Path, tmp_path: Path, cell: str) -> None:
    with tarfile.open(html / "downloads" / "records" / f"{cell.replace('/', '-')}-seed-0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    there = tables.Source(ROOT).run(*cell.split("/")).folder
    offered, kept = (records.load(folder) for folder in (tmp_path, there))
    assert records.differences(offered, kept) == [] and offered.info["finished"] == kept.info["finished"]
    assert (tmp_path / "samples.parquet").stat().st_size <= (there / "samples.parquet").stat().st_size


PAGES = [page for page in contents.run_pages(ROOT) if "-digits" in page]
OF_PAPERS = {page.split("-")[0]: f"_sources/book/pages/{page}.ipynb" for page in reversed(PAGES)}
OTHERS = [f"downloads/notebooks/{name}.ipynb" for name in ("codim", "noise", "your_data")]
SHORT = """
training = {**globals().get("training", {}), "epochs": 4, "snapshots": [1, 4]}
method = dict(globals().get("method", {"name": "codim", "warm_up": 0}))
method |= {"clip": 1.0} if method["name"] == "codim" else {}  # it would diverge from so short a pre-training
method = {key: 1 if key in ("warm_up", "lr_warm_up", "ramp_epochs") else value for key, value in method.items()}
optim = {**globals().get("optim", {}), "drop_epochs": []}
"""


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shortened(notebook: NotebookNode) -> NotebookNode:
    """The same with a few epochs, of a pre-training too."""
    for cell in code_cells(notebook):
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += SHORT
        if "write_atomically" in cell.source:
            for key, value in (("epochs", "2"), ("snapshots", "[1, 2]"), ("lr_warm_up", "1")):
                cell.source = re.sub(rf"(?<=\n  ){key}: .*", f"{key}: {value}", cell.source)
    return notebook


def test_each_notebook_for_download_has_no_outputs_one_cell_of_parameters_and_the_files_it_names(html: Path) -> None:
    files = [*html.glob("_sources/**/*.ipynb"), *html.glob("downloads/**/*.ipynb")]
    assert len(files) > len(PAGES)
    for file in files:
        cells = code_cells(nbformat.read(file, as_version=4))
        code = "\n".join(cell.source for cell in cells)
        assert not any(cell.outputs for cell in cells) and '"benchmarks/' not in code, file
        assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1, file
        names = re.findall(r'^params = "(.+)"', code, re.MULTILINE) + re.findall(r"\bparams/([\w/.-]+)\.yaml", code)
        assert all(f'"params/{name}.yaml": """' in code for name in names), file


@pytest.mark.slow
@pytest.mark.parametrize("file", [*OF_PAPERS.values(), *OTHERS])
def test_a_notebook_runs_in_an_empty_folder(html: Path, tmp_path: Path, file: str) -> None:
    notebook = nbformat.read(html / file, as_version=4)
    if file not in OTHERS[1:]:
        notebook = shortened(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = json.dumps([one for cell in code_cells(notebook) for one in cell.outputs])
    assert "Warning" not in said and "Traceback" not in said
    assert len(list(tmp_path.glob("runs/*/*/seed-0/record.json"))) == (file not in OTHERS[1:])
