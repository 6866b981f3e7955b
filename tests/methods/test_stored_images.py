"""Methods train on images of varying sizes from a store as they train on a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from nlkit import figures
from nlkit.data.photos import stored
from nlkit.data.photos.store import Store
from nlkit.data.photos.stored import StoredImages
from nlkit.data.problem import Problem
from nlkit.methods import METHODS as MADE
from nlkit.methods import LRADiffusion
from nlkit.params import Params, make_params
from nlkit.training import encoders
from nlkit.training.runs import train as train_run

matplotlib.use("agg")
import matplotlib.pyplot as plt

CPU = torch.device("cpu")
SIDE = 16
COUNT, TESTED = 40, 9
SIMCLR = {"kind": "simclr", "blur": 0.5}
POLICY = {"kind": "autoaugment_imagenet"}
TCL = {"name": "tcl", "warm_up": 1, "lr_warm_up": 1, "dim": 8, "hidden": 16, "strong": SIMCLR}
METHODS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"name": "cross_entropy"},
    "mixup": {"name": "mixup", "alpha": 2},
    "elr": {"name": "elr", "weight": 3, "beta": 0.7},
    "confident_learning": {"name": "confident_learning", "folds": 3},
    "dividemix": {"name": "dividemix", "warm_up": 1, "ramp_epochs": 1},
    "dividemix_balanced": {"name": "dividemix", "warm_up": 1, "ramp_epochs": 1, "balanced": 18},
    "tcl": TCL,
    "tcl_plus": {"name": "tcl_plus", "first": TCL, "first_epochs": 1, "label_epochs": 1},
    "codim": {"name": "codim", "warm_up": 1, "ramp_epochs": 1, "dim": 8, "hidden": 16, "strong": POLICY},
    "simclr": {"name": "simclr", "lr_warm_up": 1, "dim": 8, "hidden": 16, "neighbours": 5, "strong": SIMCLR},
    "lra_diffusion": {
        "name": "lra_diffusion",
        "encoder": {"kind": "identity"},
        "k": 5,
        "width": 16,
        "timesteps": 40,
        "sampling_steps": 4,
        "lr_warm_up": 1,
    },
}


def params_of(method: dict[str, Any], views: dict[str, Any] | None = None) -> Params:
    content = {
        "paper": method["name"].removesuffix("_plus"),
        "cell": "stored",
        "data": {"name": "webvision", "short": 24},
        "noise": {"kind": "none"},
        "views": views or {"kind": "resized_crop", "size": SIDE},
        "model": {"name": "small_cnn", "width": 4},
        "optim": {"lr": 0.01},
        "training": {"epochs": 2, "batch_size": 8, "eval_batch_size": 7, "precision": "fp32"},
        "method": method,
    }
    return make_params(content, {}, source="stored")


@pytest.fixture
def problem(
    make_store: Callable[..., Store], photographs: Callable[..., list[np.ndarray]], tiny_problem: Callable[..., Problem]
) -> Problem:
    """Images of three classes that differ in brightness, of varying sizes, and a test set."""
    base = tiny_problem(count=COUNT, rate=0.2, channels=3)
    clean = torch.arange(COUNT + TESTED) % 3
    drawn = photographs(COUNT + TESTED)
    bright = [np.minimum(image, 150) + np.uint8(45 * c) for image, c in zip(drawn, clean.tolist(), strict=True)]
    images = StoredImages(make_store(bright), SIDE, CPU)
    train = replace(base.train, images=images.subset(np.arange(COUNT)))
    test = images.subset(np.arange(COUNT, COUNT + TESTED)), clean[COUNT:]
    return replace(base, train=train, clean=clean[:COUNT], tests={"test": test})


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_is_measured_and_recorded(name: str, problem: Problem, tmp_path: Path) -> None:
    run = train_run(problem, params_of(METHODS[name]), tmp_path / "run", tmp_path, progress=False)
    assert len(run.epochs) == 2 and bool(np.isfinite(run.epochs["accuracy"]).all())
    seen = int(np.isfinite(run.samples["loss"]).sum())
    assert len(run.samples) == COUNT and (seen == COUNT or name == "dividemix_balanced")


@pytest.mark.parametrize("name", ["dividemix", "codim", "lra_diffusion"])
def test_pixels_on_the_device_give_the_same_run(name: str, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether batches are read or kept decides nothing."""
    images = problem.train.images
    assert isinstance(images, StoredImages)
    monkeypatch.setattr(stored, "_fits", lambda store, device: True)
    kept = StoredImages(images.store, SIDE, CPU).subset(np.arange(COUNT))
    results = []
    for train in (problem.train, replace(problem.train, images=kept)):
        method = MADE[name](train, params_of(METHODS[name]))
        for epoch in range(2):
            method.train_epoch(epoch, lambda _: None)
            method.split()
        results.append(method.state_dict())
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(one, results[1][key]) for key, one in results[0].items())


def test_features_from_a_file_find_their_stored_images(problem: Problem, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((COUNT + TESTED, 5), dtype=np.float32)
    np.save(tmp_path / "train.npy", rows[:COUNT])
    np.save(tmp_path / "test.npy", rows[COUNT:])
    paths = {"kind": "file", "train": str(tmp_path / "train.npy"), "test": str(tmp_path / "test.npy")}
    params = params_of(METHODS["lra_diffusion"] | {"encoder": paths, "query": "cached", "bank": "plain"})
    table = encoders.from_files(params, problem, tmp_path)
    assert table is not None
    method = LRADiffusion(replace(problem.train, encoder=table.tensors), params)
    np.testing.assert_array_equal(method.frozen.images(problem.tests["test"][0]), rows[COUNT:])
    np.testing.assert_array_equal(method.bank, rows[:COUNT])


def test_galleries_show_whole_stored_images(problem: Problem, tmp_path: Path) -> None:
    run = train_run(problem, params_of(METHODS["cross_entropy"]), tmp_path / "run", tmp_path, progress=False)
    assert problem.clean is not None
    shown = figures.gallery(run, problem, 3)
    noisy = figures.noise_gallery(problem.train.images, problem.clean.numpy(), run.samples["noisy"].to_numpy(), "abc")
    for figure in (shown, noisy):
        pictures = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
        assert pictures and all(max(picture.shape[:2]) > SIDE for picture in pictures)
        plt.close(figure)
