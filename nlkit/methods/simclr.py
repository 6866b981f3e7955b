"""SimCLR: an encoder learns from images alone; labels serve only to judge it (Chen et al., ICML 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick
from nlkit.params import Params
from nlkit.params.pretrain import PretrainParams
from nlkit.parts.contrast import nt_xent
from nlkit.parts.geometry import places
from nlkit.parts.heads import ContrastiveLearner
from nlkit.parts.learner import shuffled_batches
from nlkit.parts.retrieval import count_votes, nearest
from nlkit.parts.schedules import joined_cosine
from nlkit.seeding import torch_stream
from nlkit.views.strong import strong_view

QUERIES, SHOWN = 8, 6
"""So many training images have so many of their neighbours recorded for the figure."""


class SimCLR:
    """One network, trained with the contrastive loss on two strong views of each image; no label is read.

    What the runner asks of a classifier is answered by a vote: the k training images with the nearest features.
    """

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, PretrainParams)
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.learner = ContrastiveLearner(data, params, "net1")
        self.strong = strong_view(params.method.strong, data.mean, data.std, self.device)
        self.bank: Tensor | None = None
        self.epochs = 0
        self.events: list[str] = []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all images in full batches; both views of a batch go through the network together."""
        stream = torch_stream(self.device, self.params.seed, "simclr", epoch)
        batches = self._batches(stream)
        self.learner.net.train()
        self.bank, self.epochs = None, epoch + 1
        mean = Mean()
        for step, batch in enumerate(batches):
            self.learner.set_rate(self._rate(epoch + step / len(batches)))
            images = self.data.images[batch]
            views = torch.cat([self.strong(images, stream), self.strong(images, stream)])
            first, second = self.learner.embed(views).chunk(2)
            loss = nt_xent(first, second, self.method.temperature)
            self.learner.step(loss)
            mean.add(loss=loss)
            tick(1 / len(batches))
        return mean.result()

    def _batches(self, stream: torch.Generator) -> list[Tensor]:
        """Random batches of equal size; what is left over is dropped, so that every anchor meets as many others."""
        everything = torch.arange(len(self.data), device=self.device)
        batches = list(shuffled_batches(everything, self.params.training.batch_size, stream))
        return batches if len(batches) == 1 or len(batches[-1]) == len(batches[0]) else batches[:-1]

    def _rate(self, time: float) -> float:
        """The learning rate at a time in epochs."""
        method, epochs = self.method, self.params.training.epochs
        return joined_cosine(time, self.params.optim.lr, method.lr_start, method.lr_warm_up, epochs, method.lr_floor)

    def split(self) -> Split:
        """How the neighbours of each training image see its label; the image itself does not vote.

        P(clean) is the share of the k neighbours that carry the label of the image; the loss is the cross-entropy of
        the label under the vote with one count added to each class. Nothing is trained with either.
        """
        bank = self._features()
        index = neighbours_of_each(bank, self.method.neighbours)
        votes = count_votes(self.data.labels, index, self.data.classes)
        losses = functional.cross_entropy(log_shares(votes), self.data.labels, reduction="none")
        agreeing = votes.gather(1, self.data.labels[:, None])[:, 0] / index.shape[1]
        training = self.params.training
        recorded = self.epochs in {*training.snapshots, training.epochs}
        samples = places(bank) if recorded else {}
        row = {"neighbours": index[:QUERIES, :SHOWN].flatten().tolist()}
        return Split(losses[None], agreeing[None].float(), (None,), samples=samples, epoch=row)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Log shares [N, C] and [1, N, C] of the vote of the k nearest training images, with their observed labels."""
        bank = self._features()
        k = min(self.method.neighbours, len(bank))
        index = nearest(self.learner.features(images), bank, k)[1]
        logits = log_shares(count_votes(self.data.labels, index, self.data.classes))
        return logits, logits[None]

    def _features(self) -> Tensor:
        """Unit features [N, D] of the training images, made once an epoch."""
        if self.bank is None:
            self.bank = self.learner.features(self.data.images)
        return self.bank

    def weights(self) -> dict[str, Tensor]:
        """What pre-training is for: the tensors of the encoder and the projector."""
        state = self.learner.net.state_dict()
        return {name: value for name, value in state.items() if name.startswith(("encoder.", "projector."))}

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and momenta."""
        return self.learner.tensors()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)
        self.bank = None


def neighbours_of_each(bank: Tensor, k: int) -> Tensor:
    """Indices [N, min(k, N - 1)] of the rows of bank [N, D] nearest to each row, itself left out."""
    k = min(k, len(bank) - 1)
    index = nearest(bank, bank, k + 1)[1]
    others = index != torch.arange(len(bank), device=bank.device)[:, None]
    others[:, -1] &= ~others.all(dim=1)  # a row with k equal ones may be missing from its own list
    return index[others].view(len(bank), k)


def log_shares(votes: Tensor) -> Tensor:
    """Logarithms [N, C] of the shares of votes [N, C], with one more vote for each class."""
    counts = votes.float() + 1
    return (counts / counts.sum(dim=1, keepdim=True)).log()
