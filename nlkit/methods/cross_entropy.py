"""Plain training on the observed labels: the baseline that memorises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick
from nlkit.methods.loss_split import split_by_loss
from nlkit.params import Params
from nlkit.params.baselines import CrossEntropyParams
from nlkit.parts.learner import Learner, shuffled_batches
from nlkit.seeding import torch_stream


class CrossEntropy:
    """One network, cross-entropy, the weak view; the mixture is fitted for the record and steers nothing."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, CrossEntropyParams)
        self.data, self.params, self.method = data, params, params.method
        self.learner = Learner(data, params, "net1")
        self.events: list[str] = []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in random order."""
        self.learner.set_lr(self.params.optim, epoch)
        self.learner.net.train()
        stream = torch_stream(self.learner.device, self.params.seed, "cross_entropy", epoch)
        everything = torch.arange(len(self.data), device=self.learner.device)
        size = self.params.training.batch_size
        mean = Mean()
        for batch in shuffled_batches(everything, size, stream):
            view = self.learner.views.weak(self.data.images[batch], stream)
            loss = functional.cross_entropy(self.learner(view), self.data.labels[batch])
            self.learner.step(loss)
            mean.add(loss=loss)
            tick(len(batch) / len(self.data))
        return mean.result()

    def split(self) -> Split:
        """Losses [1, N] and what a two-component mixture makes of them."""
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
