"""TCL trained on images that can be told apart with effort: it finds the wrong labels and does not learn them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlkit import noise
from nlkit.data.problem import Problem, TrainingSet
from nlkit.params import Params
from nlkit.training import loop as training

CLASSES, EPOCHS = 4, 15


@pytest.fixture(scope="module")
def four_classes() -> Problem:
    """2,000 images of four classes, a faint pattern each under strong pixel noise; 40 % symmetric label noise."""
    rng = np.random.default_rng(3)
    patterns = rng.normal(0, 25, (CLASSES, 8, 8, 1))

    def draw(count: int) -> tuple[torch.Tensor, np.ndarray]:
        labels = np.arange(count) % CLASSES
        pixels = 128 + patterns[labels] + rng.normal(0, 40, (count, 8, 8, 1))
        return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)), labels

    (images, clean), (test_images, test_labels) = draw(2000), draw(500)
    observed = noise.symmetric(clean, 0.4, CLASSES, seed=123)
    return Problem(
        train=TrainingSet(images, torch.from_numpy(observed), CLASSES, (0.5,), (0.25,)),
        clean=torch.from_numpy(clean),
        tests={"test": (test_images, torch.from_numpy(test_labels))},
        noise=noise.NoisyLabels.of(observed, clean, 0.4),
        dataset="four",
        class_names=tuple("0123"),
        sha256="0" * 64,
        warnings=(),
    )


def last_row(problem: Problem, make: Callable[..., Params], name: str, folder: Path, **own: Any) -> dict[str, Any]:
    base = {"training.epochs": EPOCHS, "training.batch_size": 64, "model.width": 8}
    still = {"views.pad": 0, "views.flip": False}
    return training.fit(problem, make(name, **base, **still, **own), folder / name, progress=False).rows[-1]


def test_wrong_labels_are_found_and_accuracy_is_above_that_of_cross_entropy(
    four_classes: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    own = {"method.warm_up": 5, "method.lr_warm_up": 5}
    own |= {f"method.strong.{name}": 0 for name in ("pad", "rotate", "zoom")}
    ours = last_row(four_classes, tiny_params, "tcl", tmp_path, **own)
    plain = last_row(four_classes, tiny_params, "cross_entropy", tmp_path)
    assert ours["auc"] > 0.9 and ours["accuracy"] > plain["accuracy"] + 10


def test_a_row_tells_the_mixture_of_the_scores_and_the_places_of_the_prototypes(
    four_classes: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    short = {"training.epochs": 2, "model.width": 4, "training.snapshots": [1]}
    fit = training.fit(four_classes, tiny_params("tcl", **short), tmp_path, progress=False)
    for row in fit.rows:
        assert len(row["prototypes_1"]) == len(row["prototypes_2"]) == CLASSES
        assert sum(row["score_weights"]) == pytest.approx(1) and row["score_means"][0] < row["score_means"][1]
        assert row["mixture_means"] is None  # no mixture is fitted to the losses
        assert np.isfinite([row[name] for name in row if name.startswith("loss_")]).all()
    for snapshot in fit.snapshots.values():
        assert set(snapshot) == {"loss", "p_clean", "score", "own", "other"} | {
            f"map_{axis}" for axis in range(1, CLASSES)
        }
        assert float(snapshot["score"].min()) == 0 and float(snapshot["score"].max()) == 1
