"""CoDiM: DivideMix from a pre-trained encoder, with a contrastive loss beside its own (Zhang et al., 2021)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nlkit.codim_params import CoDiMParams
from nlkit.contrastive import ContrastiveLearner
from nlkit.cssl import contrastive_loss
from nlkit.geometry import places
from nlkit.learner import Learner
from nlkit.methods.base import Split, Tick
from nlkit.methods.dividemix import DivideMix, Views2, mixmatch
from nlkit.params import Params
from nlkit.problem import TrainingSet
from nlkit.strong_views import StrongView, strong_view


class CoDiM(DivideMix):
    """Warm-up, division, guesses and MixMatch are DivideMix's; start, views and the contrastive loss are new."""

    method: CoDiMParams

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, CoDiMParams)
        super().__init__(data, params)
        method = params.method
        self.clip = method.clip
        self.strong = strong_view(method.strong, data.mean, data.std, self.device)
        other = method.contrast_strong or method.strong
        self.contrast_strong = strong_view(other, data.mean, data.std, self.device)
        self.start = places(self.learners[0].features(data.images), "start")
        self.epoch = 0

    def learner(self, name: str) -> ContrastiveLearner:
        """A network with the pre-trained encoder, and a classifier of its own."""
        learner = ContrastiveLearner(self.data, self.params, name)
        if self.data.encoder is not None:
            parts = ["encoder", "projector"] if self.method.projector == "kept" else ["encoder"]
            learner.load_parts(self.data.encoder, *parts)
        return learner

    @property
    def learners(self) -> tuple[ContrastiveLearner, ...]:
        """Both networks, known to have projectors."""
        return tuple(net for net in self.nets if isinstance(net, ContrastiveLearner))

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """An epoch of DivideMix, whose steps after the warm-up have the losses below."""
        self.epoch = epoch + 1
        return super().train_epoch(epoch, tick)

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
        """L_x, L_u, L_reg, L_c and the weight of L_u: weak views make the targets, strong ones the gradient.

        In the trained network batch norm sees the four weak views, then the mixed rows, then the contrasted ones.
        """
        assert isinstance(net, ContrastiveLearner)
        x_weak, u_weak = self.two_views(net, x, stream), self.two_views(net, u, stream)
        guess, refined = self.targets(net, peer, x_weak, u_weak, self.data.labels[x], w)
        x_views, u_views = x_weak, u_weak
        if self.method.ssl_views == "strong":
            x_views, u_views = self.two_strong(self.strong, x, stream), self.two_strong(self.strong, u, stream)
        losses: dict[str, Tensor | float] = {"lambda_u": self.lambda_u(now)}
        losses |= mixmatch(net, x_views, u_views, refined, guess, share, stream)
        if self.method.lambda_c:
            if self.method.ssl_views == "weak" or self.method.contrast_strong is not None:
                x_views = self.two_strong(self.contrast_strong, x, stream)
                u_views = self.two_strong(self.contrast_strong, u, stream)
            first, second = torch.cat([x_views.first, u_views.first]), torch.cat([x_views.second, u_views.second])
            losses["loss_c"] = contrastive_loss(net, first, second, refined, guess, self.method)
        return losses

    def total(self, losses: dict[str, Tensor | float]) -> Tensor:
        """L = L_x + lambda_u(t) L_u + lambda_r L_reg + lambda_c L_c."""
        total = super().total(losses)
        return total + self.method.lambda_c * losses["loss_c"] if self.method.lambda_c else total

    def two_strong(self, view: StrongView, index: Tensor, stream: torch.Generator) -> Views2:
        """Two strong views of the images with these indices."""
        images = self.data.images[index]
        return Views2(view(images, stream), view(images, stream))

    def split(self) -> Split:
        """DivideMix's split; at recorded epochs also the ensemble's guesses and the first network's features."""
        split, training = super().split(), self.params.training
        if self.epoch not in {*training.snapshots, training.epochs}:
            return split
        sure, guess = self.logits(self.data.images)[0].softmax(dim=1).max(dim=1)
        samples = {"guess": guess.float(), "sure": sure, **places(self.learners[0].features(self.data.images))}
        return replace(split, samples=samples | (self.start if self.epoch == training.epochs else {}))
