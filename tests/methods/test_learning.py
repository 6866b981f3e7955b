"""What methods learn from digits with wrong labels; and they train on images of varying sizes from a store as well."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from pictures import photographs, store_of
from sklearn.metrics import roc_auc_score

from nlkit import figures
from nlkit.data.photos.stored import StoredImages
from nlkit.data.problem import Problem
from nlkit.params import Params, make_params, registry
from nlkit.training import loop as training
from nlkit.training.problem import load_problem
from nlkit.training.runs import train as train_run

PLAIN = {"training.epochs": 25, "views.pad": 0, "optim.lr": 0.02}
TURNED = {"kind": "affine", "pad": 0, "rotate": 10.0, "zoom": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "dividemix": {"method.warm_up": 6, "method.penalty": False, "training.epochs": 15, "views.rotate": 10.0}
    | {"views.zoom": 0.1},
    "codim": {"method.warm_up": 5, "training.epochs": 12, "method.strong": TURNED},
    "tcl": {"method.warm_up": 4, "method.lr_warm_up": 4, "training.epochs": 12, "training.batch_size": 32}
    | {"method.strong": TURNED, "views.pad": 0},
    "confident_learning": {"training.epochs": 15},
}


def fit_digits(folder: Path, name: str, **settings: Any) -> tuple[Problem, training.Fit]:
    """A small network that is trained on 600 digits, and the problem; settings are dotted keys."""
    params = tiny.params(name, **{"data.train_size": 600, "model.width": 8, "views.flip": False, **settings})
    problem = load_problem(params, Path("unused"), torch.device("cpu"))
    return problem, training.fit(problem, params, folder, progress=False)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Test accuracy of cross-entropy, in percent."""
    return fit_digits(tmp_path_factory.mktemp("baseline"), "cross_entropy", **PLAIN)[1].rows[-1]["accuracy"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_finds_the_wrong_labels_and_beats_cross_entropy(name: str, tmp_path: Path, baseline: float) -> None:
    problem, ours = fit_digits(tmp_path, name, **SETTINGS[name])
    assert ours.rows[-1]["auc"] > 0.9 and ours.rows[-1]["accuracy"] > baseline + 10
    assert problem.clean is not None
    right = (problem.train.labels == problem.clean).numpy()
    assert ours.rows[-1]["auc"] == pytest.approx(roc_auc_score(right, ours.split.p_clean.mean(dim=0).numpy()))


def test_dividemix_keeps_most_labels_where_none_is_wrong(tmp_path: Path) -> None:
    own = {"method.warm_up": 6, "method.penalty": False, "method.ramp_epochs": 16, "training.epochs": 12}
    _, ours = fit_digits(tmp_path, "dividemix", **own, **{"noise.rate": 0, "views.pad": 0, "optim.lr": 0.02})
    row = ours.rows[-1]
    assert min(row["labelled_1"], row["labelled_2"]) > 0.8 * 600 and row["accuracy"] > 80


CPU = torch.device("cpu")
SIDE = 16
COUNT, TESTED = 40, 9
METHODS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in registry.names()}
METHODS["dividemix, balanced"] = "dividemix", {"method.balanced": 18}
METHODS["codim, policy"] = "codim", {"strong": {"kind": "autoaugment_imagenet"}}
SIMCLR = {"kind": "simclr", "blur": 0.5}


def with_views(settings: dict[str, Any], strong: dict[str, Any]) -> dict[str, Any]:
    """Settings of a method, or of its first stage, with strong views that can cut photographs."""
    nested = {key: with_views(value, strong) if isinstance(value, dict) else value for key, value in settings.items()}
    return nested | ({"strong": strong} if "strong" in settings else {})


def params_of(name: str, strong: dict[str, Any] = SIMCLR, **own: Any) -> Params:
    content = {
        "cell": "stored",
        "data": {"name": "webvision", "short": 24},
        "noise": {"kind": "none"},
        "views": {"kind": "resized_crop", "size": SIDE},
        "training": {"epochs": 3, "batch_size": 8, "eval_batch_size": 7, "precision": "fp32"},
        "method": with_views(dict(registry.find(name).tiny), strong),
    }
    made = tiny.params(name).model_dump(mode="json")
    return make_params(made | content, own, source="stored")


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    """Images of three classes that differ in brightness, of varying sizes, and a test set."""
    base = tiny.problem(count=COUNT, rate=0.2, channels=3)
    clean = torch.arange(COUNT + TESTED) % 3
    drawn = photographs(COUNT + TESTED)
    bright = [np.minimum(image, 150) + np.uint8(45 * c) for image, c in zip(drawn, clean.tolist(), strict=True)]
    train = replace(base.train, images=StoredImages(store_of(bright[:COUNT], tmp_path), SIDE, CPU))
    test = StoredImages(store_of(bright[COUNT:], tmp_path, first=2000), SIDE, CPU)
    return replace(base, train=train, clean=clean[:COUNT], tests={"test": (test, clean[COUNT:])})


@pytest.mark.parametrize("case", METHODS)
def test_a_method_trains_and_is_measured_and_recorded(case: str, problem: Problem, tmp_path: Path) -> None:
    name, own = METHODS[case]
    run = train_run(problem, params_of(name, **own), tmp_path / "run", tmp_path, progress=False)
    assert len(run.epochs) == 3 and bool(np.isfinite(run.epochs["accuracy"]).all())
    seen = int(np.isfinite(run.samples["loss"]).sum())
    assert len(run.samples) == COUNT and (seen == COUNT or "balanced" in case)


def test_galleries_show_whole_stored_images(problem: Problem, tmp_path: Path) -> None:
    params = params_of("cross_entropy")
    run = train_run(problem, params, tmp_path / "run", tmp_path, progress=False)
    assert problem.clean is not None
    shown = figures.gallery(run, problem.train.images, 3)
    noisy = figures.noise_gallery(problem.train.images, problem.clean.numpy(), run.samples["noisy"].to_numpy(), "abc")
    for figure in (shown, noisy):
        pictures = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
        assert pictures and all(max(picture.shape[:2]) > SIDE for picture in pictures)
