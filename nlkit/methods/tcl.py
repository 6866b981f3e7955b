"""TCL: a mixture over representations finds wrong labels, two views correct each other (Huang et al., CVPR 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick
from nlkit.params import Params
from nlkit.params.tcl import TCLParams
from nlkit.parts import semi
from nlkit.parts.balance import epoch_subset
from nlkit.parts.contrast import nt_xent
from nlkit.parts.diagnosis import Diagnosis, diagnose, places, similarities
from nlkit.parts.heads import TwinLearner
from nlkit.parts.learner import shuffled_batches
from nlkit.parts.schedules import warm_cosine
from nlkit.seeding import global_stream, numpy_stream, torch_stream
from nlkit.views.strong import strong_view

MAP_POINTS, MAP_AXES = 2000, 8
"""Samples whose place is recorded for the figure, and by how many coordinates."""


@dataclass(frozen=True)
class Targets:
    """Soft labels without gradient: of both strong views [B, C], and of the mixed rows [3B, C]."""

    first: Tensor
    second: Tensor
    mixed: Tensor


@dataclass(frozen=True)
class Outputs:
    """Unit projections v and logits of the mixed rows [3B, .] and of the two strong views [B, .]."""

    v_mixed: Tensor
    v_first: Tensor
    v_second: Tensor
    mixed: Tensor
    first: Tensor
    second: Tensor


class TCL:
    """One network with two heads; labels are diagnosed before each epoch and corrected in each step."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, TCLParams)
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.learner = TwinLearner(data, params, "net1")
        self.strong = strong_view(params.method.strong, data.mean, data.std, self.device)
        self.diagnosis: Diagnosis | None = None
        self.events: list[str] = []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in full batches; prototypes and w stay as they are meanwhile.

        The very first diagnosis is that of the untrained network.
        """
        if self.diagnosis is None:
            self.diagnosis = self._diagnose()[0]
        clean_ratio = float((self.diagnosis.w > 0.5).double().mean())
        stream = torch_stream(self.device, self.params.seed, "tcl", epoch)
        beta = numpy_stream(self.params.seed, "mixup", epoch)
        batches = self.full_batches(stream)
        self.learner.net.train()
        mean = Mean()
        with global_stream(self.device, self.params.seed, "dropout", epoch):
            for step, batch in enumerate(batches):
                self.learner.set_rate(self._rate(epoch + step / len(batches)))
                share = beta.beta(self.method.alpha, self.method.alpha)
                losses = self._losses(batch, self.diagnosis, clean_ratio, max(share, 1 - share), epoch, stream)
                loss = self._total(losses)
                self.learner.step(loss)
                mean.add(loss=loss, **losses)
                tick(1 / len(batches))
        return mean.result() | {"clean_ratio": clean_ratio}

    def full_batches(self, stream: torch.Generator) -> list[Tensor]:
        """Random batches of equal size; what is left over is dropped, as in the official code."""
        chosen = epoch_subset(self.data.labels, self.method.balanced, self.data.classes, stream)
        batches = list(shuffled_batches(chosen, self.params.training.batch_size, stream))
        return batches if len(batches) == 1 or len(batches[-1]) == len(batches[0]) else batches[:-1]

    def _rate(self, time: float) -> float:
        """The learning rate at a time in epochs."""
        method = self.method
        return warm_cosine(time, self.params.optim.lr, method.lr_warm_up, self.params.training.epochs, method.lr_floor)

    def _losses(
        self, batch: Tensor, diagnosis: Diagnosis, clean_ratio: float, share: float, epoch: int, stream: torch.Generator
    ) -> dict[str, Tensor]:
        """The six losses of a step on the samples `batch` [B]; one pass of 6B rows shares its batch statistics."""
        images, tau = self.data.images[batch], self.method.temperature
        weak = self.learner.views.weak(images, stream)
        first, second = self.strong(images, stream), self.strong(images, stream)
        views = torch.cat([weak, first, second])
        order = torch.randperm(len(views), generator=stream, device=self.device)
        out = self._forward(weak, semi.mix(views, share, order), first, second)
        labels = functional.one_hot(self.data.labels[batch], self.data.classes).float()
        w = torch.ones_like(diagnosis.w[batch]) if epoch < self.method.warm_up else diagnosis.w[batch]
        scales = (1.0, 1.0) if epoch < self.method.warm_up else self._scales(clean_ratio)
        targets = make_targets(out.first, out.second, labels, w, scales, share, order)
        everything = torch.cat([out.first, out.second, out.mixed])
        return {
            "loss_ctr": nt_xent(out.v_first, out.v_second, tau),
            "loss_cls1": semi.soft_cross_entropy(out.first, targets.first)
            + semi.soft_cross_entropy(out.second, targets.second),
            "loss_cls2": semi.soft_cross_entropy(out.mixed, targets.mixed),
            "loss_align": semi.soft_cross_entropy(out.v_mixed @ diagnosis.prototypes.T / tau, targets.mixed),
            "loss_ent": -semi.negative_entropy(everything),
            "loss_ne": semi.negative_marginal_entropy(everything),
        }

    def _forward(self, weak: Tensor, mixed: Tensor, first: Tensor, second: Tensor) -> Outputs:
        """The weak view takes part for its batch statistics only."""
        size = len(weak)
        v, logits = self.learner.both(torch.cat([weak, mixed, first, second]))
        _, v_mixed, v_first, v_second = v.split([size, 3 * size, size, size])
        _, out_mixed, out_first, out_second = logits.split([size, 3 * size, size, size])
        return Outputs(v_mixed, v_first, v_second, out_mixed, out_first, out_second)

    def _scales(self, clean_ratio: float) -> tuple[float, float]:
        """s1 and s2; where the parameters leave one out it is the share of labels with w > 0.5."""
        given = self.method.scale1, self.method.scale2
        first, second = (clean_ratio if scale is None else scale for scale in given)
        return first, second

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """L = ctr_weight L_ctr + L_cls1 + L_cls2 + L_align + L_ent + marginal_weight L_ne."""
        weights = {"loss_ctr": self.method.ctr_weight, "loss_ne": self.method.marginal_weight}
        return torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()

    def _diagnose(self) -> tuple[Diagnosis, Tensor, Tensor]:
        """The diagnosis by the network as it is now, with the projections [N, D] and logits [N, C] behind it."""
        v, logits = self.learner.embed(self.data.images)
        return diagnose(v, logits.softmax(dim=1), self.data.labels, self.method), v, logits

    def split(self) -> Split:
        """Diagnose all labels, for use in the next epoch; losses are cross-entropies, P(clean) is w.

        Where the scores cannot be separated every w is 0.5.
        """
        self.diagnosis, v, logits = self._diagnose()
        losses = functional.cross_entropy(logits, self.data.labels, reduction="none")
        if self.diagnosis.score is None:
            self.events.append("scores cannot be separated; every label gets P(clean) 0.5")
        samples, row = _for_figures(self.diagnosis, v, self.data.labels)
        return Split(losses[None], self.diagnosis.w[None], (None,), samples=samples, epoch=row)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C] of the classifier: the ensemble is the one network."""
        logits = self.learner.predict(images)
        return logits, logits[None]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, momenta, and after the first epoch prototypes [C, D] and w [N]."""
        state = self.learner.tensors()
        if self.diagnosis is not None:
            state |= {"prototypes": self.diagnosis.prototypes, "w": self.diagnosis.w}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)
        self.diagnosis = None
        if "w" in state:
            self.diagnosis = Diagnosis(state["prototypes"].clone(), state["w"].clone())


@torch.no_grad()
def make_targets(
    first: Tensor, second: Tensor, labels: Tensor, w: Tensor, scales: tuple[float, float], share: float, order: Tensor
) -> Targets:
    """Targets from the logits [B, C] of both strong views, one-hot labels [B, C], w [B] and (s1, s2).

    t1 = (1 - s1 w) p2 + s1 w y and t2 likewise with p1: each view is taught by the other (cross-supervision).
    Mixed rows mix t = (1 - s2 w) (p1 + p2)/2 + s2 w y as the views were mixed. With w = s1 = s2 = 1, as in the
    warm-up, all are the labels.
    """
    p1, p2 = first.softmax(dim=1), second.softmax(dim=1)
    base = semi.blend(labels, (p1 + p2) / 2, scales[1] * w)
    mixed = semi.mix(base.repeat(3, 1), share, order)
    return Targets(semi.blend(labels, p2, scales[0] * w), semi.blend(labels, p1, scales[0] * w), mixed)


def _for_figures(
    diagnosis: Diagnosis, v: Tensor, labels: Tensor
) -> tuple[dict[str, Tensor], dict[str, list[float] | None]]:
    """Scores, similarities and places by sample; the mixture and the places of the prototypes for the epoch."""
    points, centres = places(v, diagnosis.prototypes, MAP_AXES)
    points[MAP_POINTS:] = torch.nan
    own, other = similarities(v, labels, diagnosis.prototypes)
    unknown = torch.full_like(diagnosis.w, torch.nan)
    score = unknown if diagnosis.score is None else diagnosis.score.float()
    samples = {"score": score, "own": own.contiguous(), "other": other}
    mixture = diagnosis.mixture
    row: dict[str, list[float] | None] = {}
    for axis in range(points.shape[1]):
        samples[f"map_{axis + 1}"] = points[:, axis].contiguous()
        row[f"prototypes_{axis + 1}"] = centres[:, axis].tolist()
    for name in ("weights", "means", "variances"):
        row[f"score_{name}"] = None if mixture is None else getattr(mixture, name).tolist()
    return samples, row
