"""How a vote of nearest neighbours does: what a pre-trained encoder is worth before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from nlkit import noise
from nlkit.data.photos.stored import Images
from nlkit.parts.heads import ContrastiveLearner
from nlkit.parts.retrieval import count_votes, nearest
from nlkit.training import encoders
from nlkit.training.runs import Run


def vote_accuracy(run: Run, neighbours: Sequence[int] = (5, 20, 50, 100)) -> pd.DataFrame:
    """Test accuracy in percent of a vote of k neighbours, among raw pixels and among the encoder's features.

    The voters are the training images with clean labels, and with symmetric noise of 50 and 80 %. Where the encoder of
    the run is not on this machine, the table has one line that says so.
    """
    problem = run.problem()
    encoder = encoders.find(run.params, problem.sha256)
    if encoder is None:
        return pd.DataFrame([{"features": "the encoder is not on this machine"}])
    images, truth = problem.tests["test"]
    data = replace(problem.train, encoder=encoder.tensors)
    learner = ContrastiveLearner(data, run.params, "net1")
    learner.load_parts(encoder.tensors, "encoder")
    features = {"raw pixels": _pixels, "encoder": learner.features}
    rows = []
    for rate in (0.0, 0.5, 0.8):
        labels = torch.from_numpy(noise.symmetric(problem.train.labels.numpy(), rate, problem.train.classes, 123))
        for name, make in features.items():
            row = {"voters": f"{100 * rate:.0f} % noise", "features": name}
            for k in neighbours:
                index = nearest(make(images), make(data.images), k)[1]
                voted = count_votes(labels, index, data.classes).argmax(dim=1)
                row[f"k = {k}"] = f"{100 * float((voted == truth).double().mean()):.1f}"
            rows.append(row)
    return pd.DataFrame(rows)


def _pixels(images: Images) -> Tensor:
    assert isinstance(images, Tensor)
    return functional.normalize(images.float().flatten(1), dim=1)
