"""What a method costs, counted in passes of one image through a network, so that machines do not matter."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from nlkit.params import Params
from nlkit.params.baselines import ConfidentLearningParams
from nlkit.params.codim import CoDiMParams
from nlkit.params.lra import LRADiffusionParams
from nlkit.params.tcl import TCLParams

GRADIENT = 3
"""A forward pass with its backward pass, in forward passes: the backward one is counted twice."""


def forward_equivalents(params: Params, count: int, epochs: pd.DataFrame) -> float | None:
    """Forward-equivalents per training image and epoch, mean over the run; None for a method without a rule here.

    `count` is the number of training images, `epochs` the epoch table of the record, for the sizes that a method
    chose. Counted are training, and the look at all training images where the method itself needs one; not counted
    are test images, passes that only draw a figure, and pre-training.
    """
    rule = RULES.get(params.method.name)
    return None if rule is None else rule(params, count, epochs) / (count * len(epochs))


def _one_pass(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """Cross-entropy, mixup, ELR: each image once, with gradient."""
    return float(GRADIENT * count * len(epochs))


def _folds(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """Confident learning: each image once, with gradient, by every network but the one that judges it."""
    assert isinstance(params.method, ConfidentLearningParams)
    return (params.method.folds - 1) * _one_pass(params, count, epochs)


def _dividemix(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """Two networks. Warm-up: each image once. Then for each step of b images of X and u of U:

    own guesses 2u + 2b, the peer's 2u, the mixed batch 2b + 2u with gradient. After each epoch both look at all.
    """
    steps = sum(2 * x + 4 * u + GRADIENT * 2 * (x + u) for x, u in _divided(params, epochs))
    return 2.0 * count * len(epochs) + _warm_up(params, count, epochs) + steps


def _codim(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """DivideMix, and in each step two more views with gradient of the images that are contrasted."""
    method = params.method
    assert isinstance(method, CoDiMParams)
    rows = [(0 if method.cl_subset == "unlabelled" else x) + u for x, u in _divided(params, epochs)]
    contrast = GRADIENT * 2 * sum(rows) if method.lambda_c else 0
    return _dividemix(params, count, epochs) + contrast


def _warm_up(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """Both networks see each image once, with gradient, in each epoch of the warm-up."""
    return float(2 * GRADIENT * count * (epochs["epoch"] <= params.method.warm_up).sum())  # type: ignore[union-attr]


def _divided(params: Params, epochs: pd.DataFrame) -> list[tuple[int, int]]:
    """Images of X and of U that each network is trained on, in each epoch after the warm-up."""
    later = epochs[epochs["epoch"] > params.method.warm_up]  # type: ignore[union-attr]
    sizes = [(int(row[f"labelled_{k}"]), int(row[f"unlabelled_{k}"])) for _, row in later.iterrows() for k in (1, 2)]
    return [(x, drawn_unlabelled(x, u, params.training.batch_size)) for x, u in sizes]


def drawn_unlabelled(labelled: int, unlabelled: int, size: int) -> int:
    """Images of U in an epoch: one batch for each batch of X, from passes over U whose last batch may be short."""
    steps, in_pass = -(-labelled // size), max(-(-unlabelled // size), 1)
    passes, rest = divmod(steps, in_pass)
    return passes * unlabelled + min(rest * size, unlabelled)


def _simclr(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """One network, two strong views of each image of a full batch with gradient."""
    size = params.training.batch_size
    used = count // size * size if count >= size else count
    return float(2 * GRADIENT * used * len(epochs))


def _tcl(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """One network, six views of each image of a full batch with gradient.

    All images are diagnosed before the first epoch and after each one.
    """
    assert isinstance(params.method, TCLParams)
    size = params.training.batch_size
    used = count // size * size if count >= size else count
    return float(6 * GRADIENT * used * len(epochs) + count * (len(epochs) + 1))


def _lra_diffusion(params: Params, count: int, epochs: pd.DataFrame) -> float:
    """The image encoder once for each image of a full batch, with gradient where it is trained.

    A frozen network sees each image once for the bank, and its view in each epoch where the query is of the view. The
    noise predictor is small beside them and not counted.
    """
    method, size = params.method, params.training.batch_size
    assert isinstance(method, LRADiffusionParams)
    used = count // size * size if count >= size else count
    total = (GRADIENT if method.train_encoder else 1) * used * len(epochs)
    if method.encoder.kind in ("simclr", "clip"):
        total += count + (used * len(epochs) if method.query == "view" else 0)
    return float(total)


RULES: dict[str, Callable[[Params, int, pd.DataFrame], float]] = {
    "cross_entropy": _one_pass,
    "mixup": _one_pass,
    "elr": _one_pass,
    "confident_learning": _folds,
    "dividemix": _dividemix,
    "codim": _codim,
    "simclr": _simclr,
    "tcl": _tcl,
    "lra_diffusion": _lra_diffusion,
}
