"""What methods learn from digits of which four labels in ten are wrong: who is wrong, and the right label."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from sklearn.metrics import roc_auc_score

from nlkit.data.problem import Problem
from nlkit.training import loop as training
from nlkit.training.problem import load_problem

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
    assert ours.split is not None and problem.clean is not None
    right = (problem.train.labels == problem.clean).numpy()
    assert ours.rows[-1]["auc"] == pytest.approx(roc_auc_score(right, ours.split.p_clean.mean(dim=0).numpy()))


def test_dividemix_keeps_most_labels_where_none_is_wrong(tmp_path: Path) -> None:
    own = {"method.warm_up": 6, "method.penalty": False, "method.ramp_epochs": 16, "training.epochs": 12}
    _, ours = fit_digits(tmp_path, "dividemix", **own, **{"noise.rate": 0, "views.pad": 0, "optim.lr": 0.02})
    row = ours.rows[-1]
    assert min(row["labelled_1"], row["labelled_2"]) > 0.8 * 600 and row["accuracy"] > 80
