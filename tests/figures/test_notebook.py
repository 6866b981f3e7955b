from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlkit import NlkitError, load_params
from nlkit.figures import notebook

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_notebooks_folder() -> Iterator[None]:
    before = Path.cwd()
    os.chdir(ROOT / "notebooks")
    yield
    os.chdir(before)


def namespace(*cells: str) -> dict[str, Any]:
    """What a kernel holds after running cells of literal assignments."""
    values: dict[str, Any] = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, values)
    return values


DEFAULTS = '# Parameters\nparams = "dividemix/digits-sym-50"\nseed = 0'


def test_the_defaults_name_a_parameter_file() -> None:
    expected = load_params(ROOT / "params/dividemix/digits-sym-50.yaml")
    assert notebook.parameters(namespace(DEFAULTS)) == expected


def test_an_injected_cell_overrides_single_keys_and_groups() -> None:
    found = notebook.parameters(namespace(DEFAULTS, '# Parameters\nseed = 3\nnoise = {"rate": 0.25}'))
    assert (found.seed, found.noise.rate, found.noise.kind) == (3, 0.25, "symmetric")


def test_an_injected_parameter_file_replaces_the_defaults_altogether() -> None:
    other = load_params(ROOT / "params/cross_entropy/digits-asym-40.yaml")
    lines = [f"{name} = {value!r}" for name, value in other.model_dump(mode="json").items()]
    assert notebook.parameters(namespace(DEFAULTS, "# Parameters\n" + "\n".join(lines))) == other


def test_an_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(NlkitError, match="unknown key 'nosie'"):
        notebook.parameters(namespace(DEFAULTS, "# Parameters\nnosie = 1"))


def test_names_of_other_cells_are_not_parameters() -> None:
    found = notebook.parameters(namespace(DEFAULTS, "x = 3\nseed_of_mine = 4"))
    assert found.seed == 0
