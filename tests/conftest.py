"""Tiny problems and parameters that every test can afford, and where the public data are if they are here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlkit import noise
from nlkit.data import data_root
from nlkit.data.photo_catalog import SOURCES
from nlkit.data.problem import Problem, TrainingSet
from nlkit.data.store import Store
from nlkit.params import Params, make_params, registry

torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "agg"
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a hook of git started the tests
    os.environ.pop(name, None)
DATA = data_root(None).absolute()
os.environ["NLKIT_DATA"] = str(DATA)


@pytest.fixture(scope="session", autouse=True)
def _far_from_the_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The current folder is an empty one, so that what a run leaves beside its record is left there."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _same_global_stream() -> None:
    """Tests may draw from the global generator; each sees the same numbers whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    """The root of the public data sets, which may or may not be there."""
    return DATA


@pytest.fixture
def empty_is_nan() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN, so that a kernel that leaves an element unwritten is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def tiny_params() -> Callable[..., Params]:
    """A function that makes parameters of a tiny run of a method; overrides are dotted keys."""

    def make(name: str = "dividemix", **overrides: Any) -> Params:
        entry = registry.find(name)
        content = {
            "paper": entry.paper,
            "cell": "tiny",
            "data": {"name": "digits"},
            "noise": {"kind": "symmetric", "rate": 0.4},
            "views": {"pad": 1, "flip": True},
            "model": {"name": "small_cnn", "width": 4},
            "optim": {"lr": 0.05},
            "training": {"epochs": 4, "batch_size": 16, "precision": "fp32"},
            "method": dict(entry.tiny),
        }
        return make_params(content, overrides, source="tiny")

    return make


@pytest.fixture
def tiny_problem() -> Callable[..., Problem]:
    """A function that makes a problem of small images whose brightness pattern tells the class."""

    def make(count: int = 96, classes: int = 3, rate: float = 0.4, size: int = 8, channels: int = 1) -> Problem:
        rng = np.random.default_rng(7)
        patterns = rng.integers(0, 200, (classes, size, size, channels))

        def draw(number: int) -> tuple[torch.Tensor, np.ndarray]:
            labels = np.arange(number) % classes
            pixels = patterns[labels] + rng.integers(0, 56, (number, size, size, channels))
            return torch.from_numpy(pixels.astype(np.uint8)), labels

        images, clean = draw(count)
        test_images, test_labels = draw(30)
        observed = noise.symmetric(clean, rate, classes, seed=123)
        shade = (0.5,) * channels
        return Problem(
            train=TrainingSet(images, torch.from_numpy(observed), classes, shade, shade),
            clean=torch.from_numpy(clean),
            tests={"test": (test_images, torch.from_numpy(test_labels))},
            noise=noise.NoisyLabels.of(observed, clean, rate),
            dataset="tiny",
            class_names=tuple(str(name) for name in range(classes)),
            sha256="0" * 64,
            warnings=(),
        )

    return make


@pytest.fixture
def interrupt() -> Callable[[str, int], AbstractContextManager[None]]:
    """A function whose context stops the training of a method by Ctrl-C in the middle of an epoch, which must come."""

    @contextmanager
    def stopped(name: str, epoch: int) -> Iterator[None]:
        method = registry.find(name).build
        train_epoch = method.train_epoch

        def tick_out(share: float) -> None:
            raise KeyboardInterrupt

        def stop(self: Any, now: int, tick: Callable[[float], None]) -> dict[str, float]:
            return train_epoch(self, now, tick_out if now == epoch else tick)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(method, "train_epoch", stop)
            yield

    return stopped


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, int]], None]:
    """A function that makes some numbers of images the official ones of a set of photographs."""

    def settle(name: str, counts: dict[str, int]) -> None:
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], official=counts))

    return settle


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[Sequence[np.ndarray]], Store]:
    """A function that writes images uint8 [H, W, 3] of any sizes to a store."""

    def make(images: Sequence[np.ndarray]) -> Store:
        path = tmp_path / "pixels.bin"
        path.write_bytes(b"".join(image.tobytes() for image in images))
        ends = np.cumsum([image.size for image in images])
        heights, widths = (np.array([image.shape[axis] for image in images]) for axis in (0, 1))
        count = len(images)
        offsets = ends - 3 * heights * widths
        return Store(path, offsets, heights, widths, 1000 + np.arange(count), np.arange(count), {}, "0" * 64)

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
