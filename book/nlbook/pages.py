"""The notebooks of the book, with papermill's parameters, executed one after the other in kernels that stay warm.

`python -m nlbook.pages WORKERS PAGE...` makes those of the pages that are missing, or whose notebook, parameters,
records or code are no longer what they were made from.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from nlbook import contents
from nlbook.svg import compact
from nlkit.files import write_atomically
from nlkit.params import read_tree, sources

PAGES, LOGS = Path("book", "pages"), Path("runs", "logs")
RESET = """
import gc, os, matplotlib.pyplot
gc.set_threshold(100_000)
os.chdir("{root}")
matplotlib.pyplot.close(matplotlib.pyplot.figure())
matplotlib.pyplot.uninstall_repl_displayhook()
from IPython.core.formatters import BaseFormatter
from nlkit.figures.numbers import figure_csv
matplotlib.figure.Figure._repr_csv_ = figure_csv
get_ipython().display_formatter.formatters["text/csv"] = BaseFormatter(print_method="_repr_csv_")
get_ipython().reset(new_session=True)
exec("import gc; gc.collect(); gc.freeze()", {{}})
"""
"""What a kernel does before each notebook. Garbage is seldom looked for, and not among what outlives a page. Pyplot's
hook, which comes with the first figure, would draw it once more than Jupyter's backend does. Figures carry numbers."""


def make(names: Sequence[str], workers: int) -> list[str]:
    """Execute the notebooks of all pages that are due; returns the names of those that failed."""
    files = [*Path("nlkit").rglob("*.*"), *Path(__file__).parent.rglob("*.*")]  # templates too
    code = _sha256([path for path in files if path.suffix != ".pyc"])
    due = {name: digest for name in names if (digest := _sha256(_sources(name), code)) != _made_from(name)}
    for folder in (PAGES, LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    todo = iter(due.items())
    with ThreadPoolExecutor(workers) as pool:  # each takes the next page from the one iterator
        return [name for failed in pool.map(_work, [todo] * min(workers, len(due))) for name in failed]


def _sources(name: str) -> list[Path]:
    """What a page is made from, beside code: notebook and parameters, records and rows that it may show, galleries."""
    shown, parameters = "*/*/seed-*/record.json", [*Path("benchmarks").glob("*.csv"), *Path("params").rglob("*.yaml")]
    parameters += Path("results").glob("*/*.json")
    if contents.is_run(name):
        shown, parameters = "/".join(contents.committed(name).parts[1:]), sources(contents.parameter_file(name))
    places = ["results", "runs"] if contents.is_run(name) or contents.shows_all_runs(name) else ["results"]
    records = [path for place in places for path in Path(place).glob(shown)]
    galleries = [path for record in records for path in record.parent.glob("gallery.png")]
    return [contents.notebook(name), *parameters, *records, *galleries]


def _sha256(files: Iterable[Path], more: str = "") -> str:
    """A hash of the names and contents of files."""
    digest = hashlib.sha256(more.encode())
    for path in sorted(files):
        digest.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


def _made_from(name: str) -> str | None:
    """The hash of what a page was made from; None where there is no page."""
    path = PAGES / f"{name}.ipynb"
    return nbformat.read(path, as_version=4).metadata.get("made_from") if path.exists() else None


def _work(todo: Iterator[tuple[str, str]]) -> list[str]:
    """Execute notebooks in one kernel until none is left; returns the names of those that failed."""
    failed = []
    client = NotebookClient(new_notebook(), shutdown_kernel="immediate")
    with client.setup_kernel():
        for name, digest in todo:
            try:
                _execute(name, digest, client)
            except Exception as error:  # whatever ended it: the notebook is kept, and the other pages are made
                print(f"page {name}: {error}", file=sys.stderr)
                failed.append(name)
                client.nb = new_notebook()
                client.execute(reset_kc=True, cleanup_kc=False)  # the others get a new kernel
    return failed


def _execute(name: str, digest: str, client: NotebookClient) -> None:
    """Make one page; where its notebook fails, that is kept among the logs with the traceback."""
    page = load_notebook_node(str(contents.notebook(name)))
    if contents.is_run(name):
        page = parameterize_notebook(page, read_tree(contents.parameter_file(name)))
    try:
        for notebook in (new_notebook(cells=[new_code_cell(RESET.format(root=Path.cwd()))]), page):
            client.nb = notebook
            client.execute(cleanup_kc=False)
    except Exception:
        nbformat.write(page, LOGS / f"{name}.ipynb")
        raise
    if contents.is_run(name):
        _name_the_cell(page, name)
    for one in (one for cell in page.cells for one in cell.get("outputs", []) if "data" in one):
        one.data.update({kind: compact(text) for kind, text in one.data.items() if kind == "image/svg+xml"})
        one.metadata.update({"csv": one.data.pop("text/csv")} if "text/csv" in one.data else {})  # Sphinx knows no CSV
    page.metadata["made_from"] = digest
    write_atomically(PAGES / f"{name}.ipynb", nbformat.writes(page) + "\n")


def _name_the_cell(page: Any, name: str) -> None:
    """Put the cell into the page's title, and the injected parameters, folded away, in place of the notebook's own."""
    title, *rest = page.cells[0].source.split("\n")
    page.cells[0].source = "\n".join([f"{title}: {name.split('-', 1)[1]}", *rest])
    page.cells = [one for one in page.cells if "parameters" not in one.metadata.get("tags", [])]
    for one in page.cells:
        if "injected-parameters" in one.metadata.get("tags", []):
            one.metadata.tags = ["parameters", "hide-input"]


if __name__ == "__main__":
    if failed := make(sys.argv[2:], int(sys.argv[1])):
        sys.exit(f"not made: {', '.join(failed)}; the notebooks with their tracebacks are in {LOGS}")
