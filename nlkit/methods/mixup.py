"""mixup: train on weighted means of two images, with the same mean of their labels (Zhang et al., ICLR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick
from nlkit.methods.loss_split import split_by_loss
from nlkit.params import Params
from nlkit.params.baselines import MixupParams
from nlkit.parts import semi
from nlkit.parts.learner import Learner, shuffled_batches
from nlkit.seeding import numpy_stream, torch_stream


class Mixup:
    """One network, soft cross-entropy on mixed weak views; the mixture of losses steers nothing."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, MixupParams)
        self.data, self.params, self.method = data, params, params.method
        self.learner = Learner(data, params, "net1")
        self.events: list[str] = []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in random order; each batch is mixed with a permutation of itself.

        The share lambda is drawn from Beta(alpha, alpha) once for each batch.
        """
        device, seed = self.learner.device, self.params.seed
        self.learner.set_lr(self.params.optim, epoch)
        self.learner.net.train()
        stream, beta = torch_stream(device, seed, "mixup", epoch), numpy_stream(seed, "share", epoch)
        everything = torch.arange(len(self.data), device=device)
        mean = Mean()
        for batch in shuffled_batches(everything, self.params.training.batch_size, stream):
            view = self.learner.views.weak(self.data.images[batch], stream)
            labels = functional.one_hot(self.data.labels[batch], self.data.classes).float()
            share = float(beta.beta(self.method.alpha, self.method.alpha))
            order = torch.randperm(len(batch), generator=stream, device=device)
            mixed, targets = semi.mixup(view, labels, share, order)
            loss = semi.soft_cross_entropy(self.learner(mixed), targets)
            self.learner.step(loss)
            mean.add(loss=loss)
            tick(len(batch) / len(self.data))
        return mean.result()

    def split(self) -> Split:
        """Losses [1, N] of plain images, and what a two-component mixture makes of them."""
        return split_by_loss(self.learner.losses(self.data), self.method.mixture)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C]: the ensemble is the one network."""
        logits = self.learner.predict(images)
        return logits, logits[None]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and momenta."""
        return self.learner.tensors()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)
