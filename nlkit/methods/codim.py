"""CoDiM: DivideMix from a pre-trained encoder, with a contrastive loss beside its own (Zhang et al., 2021)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Split
from nlkit.methods.cssl import ContrastiveStep, pretrained_learner
from nlkit.methods.dividemix import DivideMix
from nlkit.params import Params
from nlkit.params.codim import CoDiMParams
from nlkit.parts.geometry import places
from nlkit.parts.heads import ContrastiveLearner
from nlkit.parts.learner import Learner


class CoDiM(DivideMix):
    """Warm-up, division, guesses and MixMatch are DivideMix's; start, views and the contrastive loss are CSSL's."""

    method: CoDiMParams

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, CoDiMParams)
        super().__init__(data, params)
        self.clip = params.method.clip
        self.step = ContrastiveStep(data, params.method)
        self.start = places(self._features(), "start")

    def learner(self, name: str) -> ContrastiveLearner:
        """A network with the pre-trained encoder, and a classifier of its own."""
        return pretrained_learner(self.data, self.params, name)

    def _features(self) -> Tensor:
        """Unit features [N, D] of the training images in the first network."""
        first = self.nets[0]
        assert isinstance(first, ContrastiveLearner)
        return first.features(self.data.images)

    def losses(
        self,
        net: Learner,
        peer: Learner,
        x: Tensor,
        u: Tensor,
        w: Tensor,
        share: float,
        now: float,
        stream: torch.Generator,
    ) -> dict[str, Tensor | float]:
        """L_x, L_u, L_reg, L_c and the weight of L_u: weak views make the targets, strong ones the gradient."""
        assert isinstance(net, ContrastiveLearner)
        weak = self.two_views(net, x, stream), self.two_views(net, u, stream)
        guess, refined = self.targets(net, peer, *weak, self.data.labels[x], w)
        losses = self.step.losses(net, (x, u), weak, (refined, guess), share, stream)
        return losses | {"lambda_u": self.lambda_u(now)}

    def total(self, losses: dict[str, Tensor | float]) -> Tensor:
        """L = L_x + lambda_u(t) L_u + lambda_r L_reg + lambda_c L_c."""
        total = super().total(losses)
        return total + self.method.lambda_c * losses["loss_c"] if self.method.lambda_c else total

    def split(self) -> Split:
        """DivideMix's split; at recorded epochs also the ensemble's guesses and the first network's features."""
        split, training = super().split(), self.params.training
        if self.epoch not in {*training.snapshots, training.epochs}:
            return split
        sure, guess = self.logits(self.data.images)[0].softmax(dim=1).max(dim=1)
        samples = {"guess": guess.float(), "sure": sure, **places(self._features())}
        return replace(split, samples=samples | (self.start if self.epoch == training.epochs else {}))
