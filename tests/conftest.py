"""Tiny problems and parameters that every test can afford, and where the public data are if they are here."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from nlkit.cli import main
from nlkit.data import data_root
from nlkit.data.photos.catalog import PHOTO_SOURCES
from nlkit.data.photos.store import Store
from nlkit.data.problem import Problem
from nlkit.params import Params

torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "agg"
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a hook of git started the tests
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
def _same_global_stream() -> None:
    """Tests may draw from the global generator; each sees the same numbers whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    """The root of the public data sets, which may or may not be there."""
    return DATA


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command and returns its one line of refusal; nothing below `tmp_path` may have changed."""

    def listing() -> dict[Path, bytes]:
        return {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}

    def run(*arguments: str | Path) -> str:
        before, _ = listing(), capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        assert (code, output, listing()) == (2, "", before)
        assert errors.startswith("nlkit: ") and errors.endswith("\n") and errors.count("\n") == 1
        return errors

    return run


@pytest.fixture
def empty_is_nan() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN, so that a kernel that leaves an element unwritten is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def tiny_params() -> Callable[..., Params[Any]]:
    """A function that makes parameters of a tiny run of a method; overrides are dotted keys."""
    return tiny.params


@pytest.fixture(scope="session")
def tiny_problem() -> Callable[..., Problem]:
    """A function that makes a problem of small images whose brightness pattern tells the class."""
    return tiny.problem


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, int]], None]:
    """A function that makes some numbers of images the official ones of a set of photographs."""

    def settle(name: str, counts: dict[str, int]) -> None:
        monkeypatch.setitem(PHOTO_SOURCES, name, replace(PHOTO_SOURCES[name], official=counts))

    return settle


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[Sequence[np.ndarray]], Store]:
    """A function that writes images uint8 [H, W, 3] of any sizes to a store."""

    def make(images: Sequence[np.ndarray]) -> Store:
        path = tmp_path / "00000.pixels"
        path.write_bytes(b"".join(image.tobytes() for image in images))
        ends = np.cumsum([image.size for image in images])
        heights, widths = (np.array([image.shape[axis] for image in images]) for axis in (0, 1))
        offsets, places = ends - 3 * heights * widths, np.arange(len(images))
        digests = np.stack([1000 + places, *[0 * places] * 3], axis=1).view(np.uint8)  # eight bytes of each are its key
        return Store((path,), 0 * places, offsets, heights, widths, digests, places, {})

    return make


@pytest.fixture
def photographs() -> Callable[..., list[np.ndarray]]:
    """A function that makes smooth images in colour whose sides are at least `short` and mostly differ."""

    def make(count: int, short: int = 24, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        found = []
        for _ in range(count):
            sides = short + rng.integers(0, short, 2) * rng.permutation([0, 1])
            slope = [np.linspace(0, rng.integers(20, 120), side) for side in sides]
            smooth = slope[0][:, None, None] + slope[1][None, :, None] * rng.random(3)
            found.append((smooth + rng.integers(0, 16, (*sides, 3))).astype(np.uint8))
        return found

    return make
