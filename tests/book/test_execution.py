"""Notebooks executed in kernels that stay warm: each sees a fresh state, and what fails is kept and named."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

pytest.importorskip("papermill", reason="the package papermill is not installed")
from nlbook import pages


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
