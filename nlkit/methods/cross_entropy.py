"""Plain training on the observed labels: the baseline that memorises."""

from typing import Literal

from nlkit.lazy import Generator, Tensor, functional
from nlkit.methods.base import SingleNetwork, one_pass
from nlkit.params.registry import Look, MethodParams, OwnImages, register
from nlkit.params.sections import MixtureParams


class CrossEntropyParams(MethodParams):
    """Plain cross-entropy on the observed labels; the mixture is fitted for the figures only."""

    name: Literal["cross_entropy"]
    mixture: MixtureParams = MixtureParams()


@register(
    CrossEntropyParams,
    looks={
        "": Look("Cross-entropy", "#5A5A5A", "X"),
        "-views": Look("Cross-entropy, views", "#8A8A8A", "<", page=False),
        "-short": Look("Cross-entropy, short", "#B4B4B4", ">", page=False),
    },
    place=10,
    passes=one_pass,
    own_images=OwnImages(lambda epochs, side, classes: {}),
)
class CrossEntropy(SingleNetwork[CrossEntropyParams]):
    """One network, cross-entropy, the weak view; the mixture is fitted for the record and steers nothing."""

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """The mean cross-entropy of the samples `batch` [B]."""
        view = self.learner.views.weak(self.data.images[batch], stream)
        return {"loss": functional.cross_entropy(self.learner(view), self.data.labels[batch])}
