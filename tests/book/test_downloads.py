"""Notebooks that pages offer for download run alone: in an empty folder, with nothing but the installed package."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from nlbook import contents

ROOT = Path(__file__).parents[2]
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


def test_each_notebook_for_download_has_no_outputs_one_cell_of_parameters_and_the_files_that_it_names(
    html: Path,
) -> None:
    files = [*html.glob("_sources/**/*.ipynb"), *html.glob("downloads/**/*.ipynb")]
    assert len(files) > len(PAGES)
    for file in files:
        cells = code_cells(nbformat.read(file, as_version=4))
        code = "\n".join(cell.source for cell in cells)
        assert not any(cell.outputs for cell in cells), file
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
