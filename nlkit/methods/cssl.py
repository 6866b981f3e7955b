"""CSSL: MixMatch and a contrastive loss in one step; by itself the algorithm for a part of correct labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Tick
from nlkit.methods.mixmatch import Views2, mixmatch
from nlkit.params import Params
from nlkit.params.codim import CoDiMParams
from nlkit.parts import semi
from nlkit.parts.contrast import supcon
from nlkit.parts.heads import ContrastiveLearner
from nlkit.parts.learner import endless_batches
from nlkit.parts.positives import contrast_classes, contrast_confidence, same_image_or_class
from nlkit.seeding import numpy_stream, torch_stream
from nlkit.views.strong import StrongView, strong_view


class ContrastiveStep:
    """The losses of a step from weak views and their targets: MixMatch on strong views, and contrast between them."""

    def __init__(self, data: TrainingSet, method: CoDiMParams) -> None:
        self.data, self.method = data, method
        device = data.images.device
        self.strong = strong_view(method.strong, data.mean, data.std, device)
        self.contrast_strong = strong_view(method.contrast_strong or method.strong, data.mean, data.std, device)

    def losses(
        self,
        net: ContrastiveLearner,
        indices: tuple[Tensor, Tensor],
        weak: tuple[Views2, Views2],
        targets: tuple[Tensor, Tensor],
        share: float,
        stream: torch.Generator,
    ) -> dict[str, Tensor]:
        """L_x, L_u, L_reg and L_c; each pair is (labelled, unlabelled): indices, weak views, targets [B, C].

        Batch norm sees the mixed rows, then the contrasted ones. Without L_c, and with `ssl_views` weak, this is the
        step of DivideMix.
        """
        method, views = self.method, weak
        if method.ssl_views == "strong":
            views = self._two_each(self.strong, indices, stream)
        losses = mixmatch(net, *views, *targets, share, stream, method.mixed)
        if method.lambda_c:
            if method.ssl_views == "weak" or method.contrast_strong is not None:
                views = self._two_each(self.contrast_strong, indices, stream)
            x, u = views
            first, second = torch.cat([x.first, u.first]), torch.cat([x.second, u.second])
            losses["loss_c"] = contrastive_loss(net, first, second, *targets, method)
        return losses

    def _two_each(
        self, view: StrongView, indices: tuple[Tensor, Tensor], stream: torch.Generator
    ) -> tuple[Views2, Views2]:
        x, u = (self.data.images[index] for index in indices)
        return Views2(view(x, stream), view(x, stream)), Views2(view(u, stream), view(u, stream))


def contrastive_loss(
    net: ContrastiveLearner, first: Tensor, second: Tensor, refined: Tensor, guess: Tensor, method: CoDiMParams
) -> Tensor:
    """L_c of two views of the same images, labelled ones before unlabelled ones, in one pass of the network; a scalar.

    first, second: [B_x + B_u, channels, H, W]; refined, guess: targets [B_x, C] and [B_u, C], which name the classes
    of the supervised variants. With `cl_subset` unlabelled the B_x labelled images are left out.
    """
    if method.cl_subset == "unlabelled":
        first, second, refined = first[len(refined) :], second[len(refined) :], refined[:0]
    if not len(first):
        return first.new_zeros(())
    z = net.embed(torch.cat([first, second]))
    source = torch.arange(len(first), device=z.device).repeat(2)
    classes = contrast_classes(method.variant, refined, guess, method.tau_p).repeat(2)
    confidence = contrast_confidence(refined, guess).repeat(2) if method.weighted else None
    return supcon(z, same_image_or_class(source, classes, confidence), method.tau_c)


def pretrained_learner(data: TrainingSet, params: Params, name: str) -> ContrastiveLearner:
    """A network with the pre-trained encoder, and the projector if it is kept; its classifier is its own."""
    assert isinstance(params.method, CoDiMParams)
    learner = ContrastiveLearner(data, params, name)
    if data.encoder is not None:
        learner.load_parts(data.encoder, *(["encoder", "projector"][: 1 + (params.method.projector == "kept")]))
    return learner


class CSSL:
    """One network, some labels that are known to be correct, and images without: no mixture, no warm-up, no peer."""

    def __init__(self, data: TrainingSet, params: Params, labelled: Tensor) -> None:
        """`labelled` marks, bool [N], the images whose label is used; the other labels are never read."""
        assert isinstance(params.method, CoDiMParams)
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.net = pretrained_learner(data, params, "net1")
        self.step = ContrastiveStep(data, params.method)
        self.labelled, self.unlabelled = labelled.nonzero()[:, 0], (~labelled).nonzero()[:, 0]

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over the larger part; the smaller one is shuffled and passed over again as often as it takes."""
        self.net.set_lr(self.params.optim, epoch)
        self.net.net.train()
        stream = torch_stream(self.device, self.params.seed, "cssl", epoch)
        beta = numpy_stream(self.params.seed, "mixup", epoch)
        size = self.params.training.batch_size
        x_batches, u_batches = (endless_batches(part, size, stream) for part in (self.labelled, self.unlabelled))
        steps = -(-max(len(self.labelled), len(self.unlabelled)) // size)
        mean = Mean()
        for step in range(steps):
            share = beta.beta(self.method.alpha, self.method.alpha)
            losses = self._losses(next(x_batches), next(u_batches), max(share, 1 - share), stream)
            weight = self.method.lambda_u * semi.ramp(epoch + step / steps, 0, self.method.ramp_epochs)
            supervised = losses["loss_x"] + self.method.lambda_r * losses["loss_reg"]
            contrast = self.method.lambda_c * losses["loss_c"] if self.method.lambda_c else 0.0
            self.net.step(supervised + weight * losses["loss_u"] + contrast)
            mean.add(**losses)
            tick(1 / steps)
        return mean.result()

    def _losses(self, x: Tensor, u: Tensor, share: float, stream: torch.Generator) -> dict[str, Tensor]:
        """The losses of labelled images x and unlabelled images u."""
        views = self.net.views
        x_images, u_images = self.data.images[x], self.data.images[u]
        x_weak = Views2(views.weak(x_images, stream), views.weak(x_images, stream))
        u_weak = Views2(views.weak(u_images, stream), views.weak(u_images, stream))
        targets = self.targets(u_weak, self.data.labels[x])
        return self.step.losses(self.net, (x, u), (x_weak, u_weak), targets, share, stream)

    @torch.no_grad()
    def targets(self, u: Views2, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The given labels as one-hot rows [B_x, C], and sharpened guesses [B_u, C] from two weak views."""
        guess = semi.mean_probability(self.net.in_parts((u.first, u.second)))
        one_hot = functional.one_hot(labels, self.data.classes).float()
        return one_hot, semi.sharpen(guess, self.method.temperature)

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C] of the one network."""
        logits = self.net.predict(images)
        return logits, logits[None]
