"""Plain training on the observed labels: the baseline that memorises."""

from __future__ import annotations

from typing import Literal

from nlkit.lazy import functional, torch
from nlkit.methods.base import Mean, SingleNetwork, Tick, one_pass
from nlkit.params.registry import Look, MethodParams, OwnImages, register
from nlkit.params.sections import MixtureParams
from nlkit.parts.learner import shuffled_batches
from nlkit.seeding import torch_stream


class CrossEntropyParams(MethodParams):
    """Plain cross-entropy on the observed labels; the mixture is fitted for the figures only."""

    name: Literal["cross_entropy"]
    mixture: MixtureParams = MixtureParams()


@register(
    CrossEntropyParams,
    looks={"": Look("Cross-entropy", "#5A5A5A", "X")},
    place=10,
    passes=one_pass,
    own_images=OwnImages(lambda epochs, side, classes: {}),
)
class CrossEntropy(SingleNetwork[CrossEntropyParams]):
    """One network, cross-entropy, the weak view; the mixture is fitted for the record and steers nothing."""

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in random order."""
        self.learner.set_lr(self.params.optim, epoch)
        self.learner.net.train()
        stream = torch_stream(self.device, self.params.seed, "cross_entropy", epoch)
        everything = torch.arange(len(self.data), device=self.device)
        mean = Mean()
        for batch in shuffled_batches(everything, self.params.training.batch_size, stream):
            view = self.learner.views.weak(self.data.images[batch], stream)
            loss = functional.cross_entropy(self.learner(view), self.data.labels[batch])
            self.learner.step(loss)
            mean.add(loss=loss)
            tick(len(batch) / len(self.data))
        return mean.result()
