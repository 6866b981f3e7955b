from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import refused

from nlkit import load_params
from nlkit.figures import notebook
from nlkit.params import read_tree

ROOT = Path(__file__).parents[2]
DEFAULTS = 'params = "dividemix/digits-sym-50"\nseed = 0'
CELL = ROOT / "params/cross_entropy/digits-sym-50-views.yaml"
"""A file that names a base."""


@pytest.fixture(autouse=True)
def in_the_notebooks_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "notebooks")


def kernel(*cells: str) -> dict[str, Any]:
    """What a kernel holds after running cells of literal assignments."""
    values: dict[str, Any] = {"In": ["", *cells], "Out": {}, "_i": "x", "_": 3, "exit": exit, "pathlib": Path}
    for cell in cells:
        exec(cell, values)
    return values


def test_the_defaults_name_a_parameter_file_and_an_injected_cell_overrides_keys_and_groups() -> None:
    expected = load_params(ROOT / "params/dividemix/digits-sym-50.yaml")
    assert notebook.parameters(kernel(DEFAULTS)) == expected
    assert notebook.parameters({"params": "dividemix/digits-sym-50", "seed": 0}) == expected  # a kernel that was reset
    found = notebook.parameters(kernel(DEFAULTS, 'seed = 3\nnoise = {"rate": 0.25}'))
    assert (found.seed, found.noise.rate, found.noise.kind) == (3, 0.25, "symmetric")  # type: ignore[union-attr]


def test_an_injected_parameter_file_replaces_the_defaults_altogether() -> None:
    for content in (load_params(CELL).model_dump(mode="json"), read_tree(CELL), yaml.safe_load(CELL.read_text())):
        lines = [f"{name} = {value!r}" for name, value in content.items()]
        assert notebook.parameters(kernel(DEFAULTS, "\n".join(lines))) == load_params(CELL)


@pytest.mark.parametrize("cell", ["nosie = 1", "nosie = {'rate': 0.1}", "nosie = None", "seeds = [1, 2]"])
def test_an_unknown_parameter_is_refused_by_name(cell: str) -> None:
    refused(lambda: notebook.parameters(kernel(DEFAULTS, cell)), f"unknown key '{cell.split()[0]}'")


def test_what_later_cells_assign_is_no_parameter_when_the_notebook_is_run_again() -> None:
    values = kernel(DEFAULTS)
    notebook.parameters(values)
    exec('names = ["a", "b"]\nx = 3\nseed = 4\nnoise = {"rate": 0.25}', values)
    found = notebook.parameters(values)
    assert (found.seed, found.noise.rate) == (4, 0.25)  # type: ignore[union-attr]
