"""Tiny problems and parameters that every test can afford, and where the public data are if they are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlkit import noise
from nlkit.data import data_root
from nlkit.data.photos.catalog import PHOTO_SOURCES
from nlkit.data.photos.store import Store
from nlkit.data.problem import Problem, TrainingSet
from nlkit.params import Params, make_params

torch.set_num_threads(1)

METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"name": "cross_entropy"},
    "mixup": {"name": "mixup", "alpha": 2},
    "elr": {"name": "elr", "weight": 3, "beta": 0.7},
    "confident_learning": {"name": "confident_learning", "folds": 3},
    "dividemix": {"name": "dividemix", "warm_up": 1, "penalty": True, "ramp_epochs": 2},
    "tcl": {
        "name": "tcl",
        "warm_up": 1,
        "lr_warm_up": 1,
        "dim": 8,
        "hidden": 16,
        "strong": {"kind": "affine", "pad": 1},
    },
    "lra_diffusion": {
        "name": "lra_diffusion",
        "encoder": {"kind": "identity"},
        "k": 5,
        "width": 16,
        "timesteps": 40,
        "sampling_steps": 4,
        "lr_warm_up": 1,
    },
    "simclr": {
        "name": "simclr",
        "lr_warm_up": 1,
        "dim": 8,
        "hidden": 16,
        "neighbours": 7,
        "strong": {"kind": "affine", "pad": 1},
    },
    "codim": {
        "name": "codim",
        "warm_up": 1,
        "ramp_epochs": 2,
        "dim": 8,
        "hidden": 16,
        "strong": {"kind": "affine", "pad": 1},
    },
}
METHOD_SETTINGS["tcl_plus"] = {
    "name": "tcl_plus",
    "first": METHOD_SETTINGS["tcl"],
    "first_epochs": 2,
    "label_epochs": 1,
}


@pytest.fixture(autouse=True)
def _same_global_stream() -> None:
    """Tests may draw from the global generator; each sees the same numbers whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    """The root of the public data sets, which may or may not be there."""
    return data_root(None)


@pytest.fixture
def empty_is_nan() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN, so that a kernel that leaves an element unwritten is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def tiny_params() -> Callable[..., Params]:
    """A function that makes parameters of a tiny run of a method; overrides are dotted keys."""

    def make(paper: str = "dividemix", **overrides: Any) -> Params:
        content = {
            "paper": paper.removesuffix("_plus"),
            "cell": "tiny",
            "data": {"name": "digits"},
            "noise": {"kind": "symmetric", "rate": 0.4},
            "views": {"pad": 1, "flip": True},
            "model": {"name": "small_cnn", "width": 4},
            "optim": {"lr": 0.05},
            "training": {"epochs": 4, "batch_size": 16, "precision": "fp32"},
            "method": METHOD_SETTINGS[paper],
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
