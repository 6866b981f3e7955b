"""mixup: train on weighted means of two images, with the same mean of their labels (Zhang et al., ICLR 2018)."""

from typing import Literal

from nlkit.kernels.soft_losses import soft_cross_entropy
from nlkit.lazy import Generator, Tensor, functional, torch
from nlkit.methods.base import SingleNetwork, one_pass
from nlkit.params.registry import Look, MethodParams, OwnImages, register
from nlkit.params.sections import MixtureParams, PositiveFloat
from nlkit.parts import semi


class MixupParams(MethodParams):
    """mixup (Zhang et al., ICLR 2018); the mixture is fitted for the figures only."""

    name: Literal["mixup"]
    alpha: PositiveFloat
    mixture: MixtureParams = MixtureParams()


@register(
    MixupParams,
    looks={"": Look("mixup", "#E69F00", "^"), "-short": Look("mixup, short", "#F5CE7B", "2", page=False)},
    place=20,
    shown=("alpha",),
    passes=one_pass,
    own_images=OwnImages(lambda epochs, side, classes: {"alpha": 1.0}),
    tiny={"alpha": 2},
)
class Mixup(SingleNetwork[MixupParams]):
    """One network, soft cross-entropy on mixed weak views; the mixture of losses steers nothing."""

    mixing = "share"

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """The loss of `batch` [B], mixed with a permutation of itself; the share is drawn from Beta(alpha, alpha)."""
        view = self.learner.views.weak(self.data.images[batch], stream)
        labels = functional.one_hot(self.data.labels[batch], self.data.classes).float()
        share = float(self.beta.beta(self.method.alpha, self.method.alpha))
        order = torch.randperm(len(batch), generator=stream, device=self.device)
        logits = self.learner(semi.mix(view, share, order))
        return {"loss": soft_cross_entropy(logits, semi.mix(labels, share, order))}
