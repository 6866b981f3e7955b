"""Confident learning: each label is judged by a network that has not seen it (Northcutt et al., JAIR 70, 2021).

Functions of p and labels take class probabilities [N, C], each row from a network that was not trained on that sample,
and the observed labels int64 [N].
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nlkit.data.problem import Images, TrainingSet
from nlkit.lazy import DataFrame, Tensor, functional, torch
from nlkit.methods.base import Method, Split, Tick, one_pass, train_on
from nlkit.params import Params
from nlkit.params.registry import Look, MethodParams, OwnImages, register
from nlkit.parts.epochs import learning_rate, shuffled_batches
from nlkit.seeding import numpy_stream, torch_stream

KEPT = 400_000
"""Out-of-fold probabilities are recorded where there are at most so many, so that a record stays small."""
NEVER = 2.0  # the threshold of a class that no label names: no probability reaches it
SLACK = 1e-6  # a probability this much below a threshold still reaches it, as in the authors' code
TIE = 1e-8
"""The given label wins against a class that is not more probable by more than this, as in the authors' code."""


class ConfidentLearningParams(MethodParams):
    """Confident learning (Northcutt et al., JAIR 2021) from as many networks as there are folds."""

    name: Literal["confident_learning"]
    folds: Annotated[int, Field(ge=2, le=20)] = 3
    # What P(clean) is: the probability of the observed label, or its margin over the best other class.
    score: Literal["self_confidence", "normalised_margin"] = "normalised_margin"


def passes(params: Params[ConfidentLearningParams], count: int, epochs: DataFrame) -> float:
    """Each image once, with gradient, by every network but the one that judges it."""
    return (params.method.folds - 1) * one_pass(params, count, epochs)


@register(
    ConfidentLearningParams,
    looks={
        "": Look("Confident learning", "#000000", "p"),
        "-short": Look("Confident learning, short", "#404040", "3", page=False),
    },
    place=40,
    shown=("folds", "score"),
    passes=passes,
    own_images=OwnImages(lambda epochs, side, classes: {}, shorter=4),  # networks that judge labels must not memorise
    tiny={"folds": 3},
)
class ConfidentLearning(Method[ConfidentLearningParams]):
    """K networks; network k is trained by cross-entropy on all folds but the k-th, and judges the k-th."""

    def __init__(self, data: TrainingSet, params: Params[ConfidentLearningParams]) -> None:
        super().__init__(data, params, params.method.folds)
        self.fold = stratified_folds(data.labels, self.method.folds, numpy_stream(params.seed, "folds"))

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass of each network over the folds that it sees."""
        self.epoch = epoch + 1
        return {f"loss_{k + 1}": self._train_network(k, epoch, tick) for k in range(len(self.nets))}

    def _train_network(self, k: int, epoch: int, tick: Tick) -> float:
        learner = self.nets[k]
        learner.set_rate(learning_rate(self.params, epoch + 0.5))  # of its middle
        stream = torch_stream(self.device, self.params.seed, "confident_learning", k, epoch)
        seen = torch.nonzero(self.fold != k)[:, 0]

        def step(number: int, batch: Tensor) -> dict[str, Tensor]:
            view = learner.views.weak(self.data.images[batch], stream)
            loss = functional.cross_entropy(learner(view), self.data.labels[batch])
            learner.step(loss)
            return {"loss": loss}

        batches = shuffled_batches(seen, self.params.training.batch_size, stream)
        return train_on(learner, batches, step, tick, networks=len(self.nets))["loss"]

    def split(self) -> Split:
        """The evidence of the one network that has not seen the sample; hence all K rows are the same.

        P(clean) is a quality score of the out-of-fold probabilities; `issue` is 1 for an error of the confident joint.
        """
        logits = self.out_of_fold()
        p, labels, rows = logits.double().softmax(dim=1), self.data.labels, len(self.nets)
        score = self_confidence if self.method.score == "self_confidence" else normalised_margin
        losses = functional.cross_entropy(logits, labels, reduction="none")
        issue = issues(p, labels)
        return Split(
            losses.repeat(rows, 1),
            score(p, labels).float().repeat(rows, 1),
            (None,) * rows,
            samples={"issue": issue.float(), **self._kept(p)},
            epoch={"issues": int(issue.sum()), "estimated_errors": estimated_errors(p, labels)},
        )

    def out_of_fold(self) -> Tensor:
        """Logits [N, C] of plain training images, each from the network that was trained without its fold."""
        logits = torch.zeros(len(self.data), self.data.classes, device=self.device)
        for k, learner in enumerate(self.nets):
            mine = torch.nonzero(self.fold == k)[:, 0]
            if len(mine):
                logits[mine] = learner.predict(self.data.images, mine)
        return logits

    def _kept(self, p: Tensor) -> dict[str, Tensor]:
        """The out-of-fold probabilities, one column a class, after the last epoch."""
        last = self.epoch == self.params.training.epochs
        return {f"oof_{c}": column for c, column in enumerate(p.T.float())} if last and p.numel() <= KEPT else {}

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [K, N, C]: the ensemble is the logarithm of the mean probability."""
        _, singles = super().logits(images)
        return singles.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(singles)), singles


def stratified_folds(labels: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """A random fold int64 [N] in [0, count) for each sample; sizes differ by one at most, and so within each label."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels.cpu().numpy()[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % count
    return torch.from_numpy(fold).to(labels.device)


def self_confidence(p: Tensor, labels: Tensor) -> Tensor:
    """p_i(y_i) [N]: the probability of the observed label."""
    return p.gather(1, labels[:, None])[:, 0]


def normalised_margin(p: Tensor, labels: Tensor) -> Tensor:
    """(p_i(y_i) - max_{c != y_i} p_i(c) + 1) / 2, in [0, 1]: above one half where the observed label is predicted."""
    return (self_confidence(p, labels) - _best_other(p, labels) + 1) / 2


def _best_other(p: Tensor, labels: Tensor) -> Tensor:
    return p.scatter(1, labels[:, None], 0).amax(dim=1)


def class_thresholds(p: Tensor, labels: Tensor) -> Tensor:
    """t_c [C]: the mean probability of class c over the samples that are labelled c."""
    classes = p.shape[1]
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros_like(p[0]).scatter_add(0, labels, self_confidence(p, labels))
    return torch.where(counts > 0, sums / counts.clamp_min(1), NEVER)


def confident_class(p: Tensor, labels: Tensor) -> Tensor:
    """The class int64 [N] that each sample confidently belongs to, -1 where it belongs to none.

    A class whose probability reaches its threshold. Where there are several: the most probable of all classes, as in
    the authors' code; the paper takes the most probable one among the several.
    """
    reached = p >= class_thresholds(p, labels) - SLACK
    count = reached.sum(dim=1)
    chosen = torch.where(count > 1, p.argmax(dim=1), reached.to(torch.uint8).argmax(dim=1))
    return torch.where(count > 0, chosen, -1)


def confident_joint(p: Tensor, labels: Tensor) -> Tensor:
    """Counts int64 [C, C] of samples labelled i (row) that confidently belong to j (column); 1 at least if i = j."""
    classes, believed = p.shape[1], confident_class(p, labels)
    cell = (labels * classes + believed)[believed >= 0]
    counts = torch.bincount(cell, minlength=classes * classes).view(classes, classes)
    return counts + torch.diag((counts.diagonal() == 0).to(counts.dtype))


def calibrated(joint: Tensor, labels: Tensor) -> Tensor:
    """The joint [C, C] in float64, each row scaled to the number of samples with that label; divided by N it is Q."""
    counts = torch.bincount(labels, minlength=len(joint))
    return joint.double() / joint.sum(dim=1, keepdim=True) * counts[:, None]


def estimated_errors(p: Tensor, labels: Tensor) -> float:
    """How many of the N labels are wrong: what the calibrated joint holds beside its diagonal."""
    joint = calibrated(confident_joint(p, labels), labels)
    return float(joint.sum() - joint.diagonal().sum())


def issues(p: Tensor, labels: Tensor) -> Tensor:
    """Mask [N] of the label errors: samples of the joint beside its diagonal.

    Not those whose given label is the most probable one all the same, as in the authors' code.
    """
    believed = confident_class(p, labels)
    contradicted = _best_other(p, labels) > self_confidence(p, labels) + TIE
    return (believed >= 0) & (believed != labels) & contradicted
