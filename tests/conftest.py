"""Tiny problems and parameters that every test can afford, and where the public data are if they are here."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fuzzing import seen

from nlkit.cli import main
from nlkit.data import cifar, data_root
from nlkit.data.photos.layouts import LAYOUTS

gc.set_threshold(100_000)  # a collection looks at all that was imported, which takes longer and longer
torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "agg"
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "NLKIT_KERNELS"):  # of a hook of git, or of a user
    os.environ.pop(name, None)
DATA = data_root(None).absolute()
os.environ["NLKIT_DATA"] = str(DATA)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton, whose own functions are bound to it then


@pytest.fixture(scope="session", autouse=True)
def _far_from_the_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The current folder is an empty one, so that what a run leaves beside its record is left there."""
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        yield


@pytest.fixture(autouse=True)
def _as_if_alone() -> Iterator[None]:
    """Tests may draw from the global generator; each sees the same numbers whatever ran before. No figure stays."""
    torch.manual_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def data_folder() -> Path:
    """The root of the public data sets, which may or may not be there."""
    return DATA


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command and returns its one line of refusal; nothing below `tmp_path` may have changed."""

    def run(*arguments: str | Path) -> str:
        before, _ = seen(tmp_path), capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        assert (code, output, seen(tmp_path)) == (2, "", before)
        assert errors.startswith("nlkit: ") and errors.endswith("\n") and errors.count("\n") == 1
        return errors

    return run


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "TRAIN_COUNT", 50)
    monkeypatch.setattr(cifar, "TEST_COUNT", 10)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, int]], None]:
    """A function that makes some numbers of images the official ones of a set of photographs."""

    def settle(name: str, counts: dict[str, int]) -> None:
        monkeypatch.setitem(LAYOUTS, name, replace(LAYOUTS[name], official=counts))

    return settle
