"""SimCLR: an encoder learns from images alone; labels serve only to judge it (Chen et al., ICML 2020)."""

from typing import ClassVar, Literal

from nlkit.data.problem import Images, TrainingSet
from nlkit.lazy import DataFrame, Generator, Tensor, functional, torch
from nlkit.methods.base import GRADIENT, SingleNetwork, Split, in_full_batches
from nlkit.params import Params
from nlkit.params.registry import MethodParams, register
from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat, Width
from nlkit.params.views import AffineOrSimCLR, SimCLRParams
from nlkit.parts.epochs import joined_cosine
from nlkit.parts.features import count_votes, nearest, nearest_others, nt_xent, places, vote_logits
from nlkit.parts.learner import ContrastiveLearner
from nlkit.views.strong import strong_view

QUERIES, SHOWN = 8, 6
"""So many training images have so many of their neighbours recorded for the figure."""


class PretrainParams(MethodParams):
    """Self-supervised pre-training of an encoder (SimCLR; Chen et al., ICML 2020)."""

    own_schedule: ClassVar[bool] = True
    pretrains: ClassVar[bool] = True

    name: Literal["simclr"]
    temperature: PositiveFloat = 0.5  # tau_c
    lr_start: NonNegative = 0.01  # of a line
    lr_warm_up: PositiveFloat = 10.0  # epochs of the line, before a cosine whose peak is `optim.lr`
    lr_floor: Fraction = 0.001  # where the cosine ends, as a share of its peak
    dim: Width = 128  # of an embedding
    hidden: Width | None = None  # width of the projector, that of the features where it is left out
    neighbours: Positive = 200  # that vote in the monitor
    strong: AffineOrSimCLR = SimCLRParams(kind="simclr", solarise=0.0)


def passes(params: Params[PretrainParams], count: int, epochs: DataFrame) -> float:
    """One network, two strong views of each image of a full batch with gradient."""
    return float(2 * GRADIENT * in_full_batches(params, count) * len(epochs))


@register(
    PretrainParams,
    chapter="pretraining",
    place=70,
    shown=("temperature", "lr_warm_up", "dim", "hidden", "neighbours"),
    passes=passes,
    tiny={"lr_warm_up": 1, "dim": 8, "hidden": 16, "neighbours": 7, "strong": {"kind": "affine", "pad": 1}},
)
class SimCLR(SingleNetwork[PretrainParams]):
    """One network, trained with the contrastive loss on two strong views of each image; no label is read.

    What the runner asks of a classifier is answered by a vote: the k training images with the nearest features.
    """

    learner: ContrastiveLearner
    learner_type = ContrastiveLearner
    in_full_batches = True

    def __init__(self, data: TrainingSet, params: Params[PretrainParams]) -> None:
        super().__init__(data, params)
        self.strong = strong_view(self.method.strong, data.mean, data.std, self.device)
        self.bank: Tensor | None = None  # unit features [N, D] of the training images after the last epoch

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """The contrastive loss of the images `batch` [B]; both views of them go through the network together."""
        images = self.data.images[batch]
        views = torch.cat([self.strong(images, stream), self.strong(images, stream)])
        first, second = self.learner.embed(views).chunk(2)
        return {"loss": nt_xent(first, second, self.method.temperature)}

    def rate(self, time: float) -> float:
        """A line, then a cosine."""
        method, epochs = self.method, self.params.training.epochs
        return joined_cosine(time, self.params.optim.lr, method.lr_start, method.lr_warm_up, epochs, method.lr_floor)

    def split(self) -> Split:
        """How the neighbours of each training image see its label; the image itself does not vote.

        P(clean) is the share of the k neighbours that carry the label of the image; the loss is the cross-entropy of
        the label under the vote with one count added to each class. Nothing is trained with either.
        """
        bank = self.bank = self.learner.features(self.data.images)
        index = nearest_others(bank, bank, self.everything, min(self.method.neighbours, len(bank) - 1))[1]
        votes = count_votes(self.data.labels, index, self.data.classes)
        losses = functional.cross_entropy(vote_logits(votes), self.data.labels, reduction="none")
        agreeing = votes.gather(1, self.data.labels[:, None])[:, 0] / index.shape[1]
        samples = places(bank) if self.recorded else {}
        row = {"neighbours": index[:QUERIES, :SHOWN].flatten().tolist()}
        return Split(losses[None], agreeing[None].float(), (None,), samples=samples, epoch=row)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Log shares [N, C] and [1, N, C] of the vote of the k nearest training images, with their observed labels."""
        bank = self.learner.features(self.data.images) if self.bank is None else self.bank
        index = nearest(self.learner.features(images), bank, min(self.method.neighbours, len(bank)))[1]
        logits = vote_logits(count_votes(self.data.labels, index, self.data.classes))
        return logits, logits[None]

    def shared_weights(self) -> dict[str, Tensor]:
        """What pre-training is for: the tensors of the encoder and the projector."""
        state = self.learner.net.state_dict()
        return {name: value for name, value in state.items() if name.startswith(("encoder.", "projector."))}
