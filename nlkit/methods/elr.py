"""ELR: a penalty holds the network to what it predicted early, before it memorised (Liu et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick
from nlkit.methods.loss_split import split_by_loss
from nlkit.params import Params
from nlkit.params.baselines import ELRParams
from nlkit.parts.learner import Learner, shuffled_batches
from nlkit.parts.schedules import cosine_restarts
from nlkit.seeding import torch_stream


class ELR:
    """One network, and for each sample a target: the running mean of what was predicted for it."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, ELRParams)
        self.data, self.params, self.method = data, params, params.method
        self.learner = Learner(data, params, "net1")
        self.targets = torch.zeros(len(data), data.classes, device=data.images.device)
        self.events: list[str] = []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in random order: cross-entropy plus lambda times the penalty."""
        self._set_rate(epoch)
        self.learner.net.train()
        stream = torch_stream(self.learner.device, self.params.seed, "elr", epoch)
        everything = torch.arange(len(self.data), device=self.learner.device)
        mean = Mean()
        for batch in shuffled_batches(everything, self.params.training.batch_size, stream):
            logits = self.learner(self.learner.views.weak(self.data.images[batch], stream))
            p = logits.softmax(dim=1).clamp(self.method.clamp, 1 - self.method.clamp)
            self.targets[batch] = moved(self.targets[batch], p.detach(), self.method.beta)
            loss = functional.cross_entropy(logits, self.data.labels[batch])
            penalty = early_learning(p, self.targets[batch])
            self.learner.step(loss + self.method.weight * penalty)
            mean.add(loss=loss, penalty=penalty)
            tick(len(batch) / len(self.data))
        return mean.result()

    def _set_rate(self, epoch: int) -> None:
        """Steps, or a cosine with restarts."""
        optim, period = self.params.optim, self.method.cosine_epochs
        if period is None:
            self.learner.set_lr(optim, epoch)
        else:
            self.learner.set_rate(cosine_restarts(epoch, optim.lr, self.method.lr_floor, period))

    def split(self) -> Split:
        """Losses [1, N] and what a two-component mixture makes of them; recorded, and used for nothing."""
        return split_by_loss(self.learner.losses(self.data), self.method.mixture)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C]: the ensemble is the one network."""
        logits = self.learner.predict(images)
        return logits, logits[None]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, momenta and the targets [N, C]."""
        return self.learner.tensors() | {"targets": self.targets}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)
        self.targets = state["targets"].clone()


def moved(targets: Tensor, p: Tensor, beta: float) -> Tensor:
    """beta t + (1 - beta) p / sum_c p_c for targets [B, C] and clamped predictions [B, C] (temporal ensembling)."""
    return beta * targets + (1 - beta) * p / p.sum(dim=1, keepdim=True)


def early_learning(p: Tensor, targets: Tensor) -> Tensor:
    """The penalty: mean over rows of log(1 - <p, t>) for predictions [B, C] and targets [B, C]; scalar.

    It falls as the prediction turns to the target, so that its gradient works against a label that disagrees.
    """
    return torch.log(1 - (p * targets).sum(dim=1)).mean()
