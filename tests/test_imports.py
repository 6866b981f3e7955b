"""Nobody waits for what is not used: what a process has imported after a small piece of work."""

from pathlib import Path

import nbformat
import pytest
from tiny import python

import nlkit

ROOT = Path(__file__).parents[1]


def imported(code: str, folder: Path) -> set[str]:
    """The modules that a fresh process holds after running code in a folder."""
    last = "import sys; print('\\n' + ' '.join(sys.modules))"
    return set(python(ROOT, "-c", f"{code}\n{last}", folder=folder).splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["clean", "--help"], ["data"], ["run", "-x", "y"]])
def test_help_and_refusals_of_the_command_line_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = f"import runpy, sys\nsys.argv[1:] = {words}\ntry: runpy.run_module('nlkit', run_name='__main__')\n"
    code += "except SystemExit: pass"
    assert not imported(code, tmp_path) & {"torch", "pandas", "numpy", "matplotlib", "sklearn", "pydantic", "yaml"}


def test_the_package_names_what_it_offers_and_tells_its_version() -> None:
    assert {"run", "clean", "Params", "__version__"} <= set(dir(nlkit))
    assert python(ROOT, "-m", "nlkit", "--version") == f"nlkit {nlkit.__version__}\n"


def test_a_run_on_digits_imports_no_module_for_photographs(tmp_path: Path) -> None:
    words = ["run", str(ROOT / "params/cross_entropy/digits-sym-50.yaml"), "--out", "out", "--quiet"]
    words += ["-s", "training.epochs=1", "-s", "training.snapshots=[1]", "-s", "data.train_size=64"]
    modules = imported(f"from nlkit.cli import main; assert main({words}) == 0", tmp_path)
    photographs = ("nlkit.data.photo", "nlkit.views.photo", "nlkit.models.photo", "timm")
    assert "nlkit.training.loop" in modules
    assert sorted(name for name in modules if name.startswith(photographs)) == []


def code_of(notebook: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def shows_a_committed_run(notebook: Path) -> bool:
    """Whether there is a record of the cell that a notebook shows by default."""
    values: dict[str, str] = {}
    exec(code_of(notebook)[0], values)
    return (ROOT / "results" / values.get("params", "none") / "seed-0" / "record.json").is_file()


RUNS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "nlkit.run(" in "".join(code_of(path))]
PAGES = [
    pytest.param(path, id=path.stem, marks=() if path.stem == "dividemix" else pytest.mark.slow)
    for path in RUNS
    if shows_a_committed_run(path)
]


@pytest.mark.parametrize("notebook", PAGES)
def test_a_page_whose_record_exists_imports_no_torch(notebook: Path) -> None:
    if notebook.stem == "simclr" and any((ROOT / "runs" / "encoders").glob("*.safetensors")):
        pytest.skip("the vote of this page is counted anew with the encoder that is here")
    modules = imported("\n".join(code_of(notebook)), ROOT)
    assert {"nlkit.figures", "torch"} & modules == {"nlkit.figures"}
