"""CoDiM: DivideMix from a pre-trained encoder, with a contrastive loss beside its own (Zhang et al., 2021)."""

from dataclasses import replace
from typing import Any, Literal

from nlkit.data.problem import TrainingSet
from nlkit.lazy import DataFrame, Generator, Tensor, torch
from nlkit.methods import dividemix
from nlkit.methods.base import GRADIENT, Split
from nlkit.methods.dividemix import Batch, DivideMix
from nlkit.params import Params
from nlkit.params.registry import Look, OwnImages, register
from nlkit.params.sections import Fraction, NonNegative, PositiveFloat, Width
from nlkit.params.views import AutoAugmentParams, Strong
from nlkit.parts.features import places, supcon
from nlkit.parts.learner import ContrastiveLearner, Learner
from nlkit.parts.semi import DivisionParams, divided, mixmatch
from nlkit.views.strong import strong_view

NO_CLASS = -1  # the class of a row that takes part without one

Variant = Literal["self", "sup", "sup_pseudo"]


class CoDiMParams(DivisionParams):
    """Contrastive DivideMix (Zhang et al., 2021): DivideMix, and what belongs to pre-training and contrast."""

    name: Literal["codim"]
    encoder: str | None = None  # the parameter file of pre-training; null for a random start
    clip: PositiveFloat | None = 1.0  # largest norm of the gradient in the warm-up
    variant: Variant = "self"  # which rows are positives
    tau_c: PositiveFloat = 0.5  # temperature of the contrastive loss
    lambda_c: NonNegative = 0.25  # its weight
    cl_subset: Literal["all", "unlabelled"] = "all"  # the images that take part in it
    tau_p: Fraction = 0.9  # confidence from which an unlabelled row has a class in `sup_pseudo`
    weighted: bool = False  # a pair of one class weighs the product of both confidences
    ssl_views: Literal["strong", "weak"] = "strong"
    projector: Literal["kept", "fresh"] = "kept"
    dim: Width = 128  # of the projector, as in pre-training
    hidden: Width | None = None
    strong: Strong = AutoAugmentParams(kind="autoaugment")
    contrast_strong: Strong | None = None  # the views of the contrastive loss where they are others

    @property
    def pretraining(self) -> tuple[str, str] | None:
        """The key that names the pre-training, and its file."""
        return None if self.encoder is None else ("method.encoder", self.encoder)

    def shared_with_pretraining(self) -> tuple[str, ...]:
        """The network, and the projector where it is kept."""
        return ("model.name", "model.width", *(("method.dim", "method.hidden") if self.projector == "kept" else ()))


def check(params: Params[CoDiMParams]) -> None:
    """Raise ValueError for a contrastive loss that would have no class to go by."""
    if params.method.cl_subset == "unlabelled" and params.method.variant != "self":
        raise ValueError("method.cl_subset 'unlabelled' leaves out every label; it needs method.variant 'self'")


def passes(params: Params[CoDiMParams], count: int, epochs: DataFrame) -> float:
    """DivideMix, and in each step two more views with gradient of the images that are contrasted."""
    rows = [(0 if params.method.cl_subset == "unlabelled" else x) + u for x, u in divided(params, epochs)]
    contrast = GRADIENT * 2 * sum(rows) if params.method.lambda_c else 0
    return dividemix.passes(params, count, epochs) + contrast


def for_own_images(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """DivideMix's settings, a narrow projector, and strong views without flips."""
    strong = {"kind": "affine", "pad": max(1, side // 8), "rotate": 15.0, "zoom": 0.2, "erase": 0.5}
    return {**dividemix.for_own_images(epochs, side, classes), "dim": 64, "hidden": 128, "strong": strong}


@register(
    CoDiMParams,
    looks={"": Look("CoDiM-Self", "#CC79A7", "D"), "-sup": Look("CoDiM-Sup", "#882255", "s")},
    place=80,
    shown=(
        "variant", "warm_up", "penalty", "lambda_u", "ramp_epochs", "threshold", "loss_epochs", "tau_c", "lambda_c",
        "ssl_views",
    ),
    check=check,
    passes=passes,
    own_images=OwnImages(for_own_images),
    tiny={"warm_up": 1, "ramp_epochs": 2, "dim": 8, "hidden": 16, "strong": {"kind": "affine", "pad": 1}},
)  # fmt: skip
class CoDiM(DivideMix):
    """Warm-up, division, guesses and MixMatch are DivideMix's; start, strong views and the contrast are its own."""

    method: CoDiMParams
    nets: list[ContrastiveLearner]

    def __init__(self, data: TrainingSet, params: Params[Any]) -> None:
        super().__init__(data, params)
        self.clip = self.method.clip
        self.strong = strong_view(self.method.strong, data.mean, data.std, self.device)
        contrast = self.method.contrast_strong or self.method.strong
        self.contrast_strong = strong_view(contrast, data.mean, data.std, self.device)
        self.start = places(self.nets[0].features(data.images), "start")

    def build_learner(self, name: str) -> ContrastiveLearner:
        """A network with the pre-trained encoder, and the projector if it is kept; its classifier is its own."""
        learner = ContrastiveLearner(self.data, self.params, name)
        if self.data.encoder is not None:
            kept = ("encoder", "projector") if self.method.projector == "kept" else ("encoder",)
            learner.load_parts(self.data.encoder, *kept)
        return learner

    def losses(self, net: Learner, peer: Learner, batch: Batch, stream: Generator) -> dict[str, Tensor]:
        """L_x, L_u, L_reg and L_c: weak views make the targets, strong ones the gradient.

        Batch norm sees the mixed rows, then the contrasted ones. Without L_c, with weak views, it is DivideMix's step.
        """
        assert isinstance(net, ContrastiveLearner)
        method = self.method
        views = weak = self.two_each(net.views.weak, batch, stream)
        guess, refined = self.targets(net, peer, *weak, self.data.labels[batch.x], batch.w)
        if method.ssl_views == "strong":
            views = self.two_each(self.strong, batch, stream)
        losses = mixmatch(net, *views, refined, guess, batch.share, stream, method.mixed)
        if method.lambda_c:
            if method.ssl_views == "weak" or method.contrast_strong is not None:
                views = self.two_each(self.contrast_strong, batch, stream)
            first, second = map(torch.cat, zip(*views, strict=True))
            losses["loss_c"] = contrastive_loss(net, first, second, refined, guess, method)
        return losses

    def total(self, losses: dict[str, Any]) -> Tensor:
        """L = L_x + lambda_u(t) L_u + lambda_r L_reg + lambda_c L_c."""
        total = super().total(losses)
        return total + self.method.lambda_c * losses["loss_c"] if self.method.lambda_c else total

    def split(self) -> Split:
        """DivideMix's split; at recorded epochs also the ensemble's guesses and the first network's features."""
        split = super().split()
        if not self.recorded:
            return split
        sure, guess = self.logits(self.data.images)[0].softmax(dim=1).max(dim=1)
        samples = {"guess": guess.float(), "sure": sure, **places(self.nets[0].features(self.data.images))}
        return replace(split, samples=samples | (self.start if self.epoch == self.params.training.epochs else {}))


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


def same_image_or_class(source: Tensor, classes: Tensor, confidence: Tensor | None = None) -> Tensor:
    """Positives [n, n]: rows i and j that are views of one image, or of one class; rows without a class have none.

    source, classes: int64 [n], the number of the image and of its class (NO_CLASS for none). A bool mask; with
    confidence [n] weights, where a pair of one class and two images weighs the product of both confidences, and views
    of one image weigh one.
    """
    image = source[:, None] == source
    chosen = image | ((classes[:, None] == classes) & (classes != NO_CLASS))
    if confidence is None:
        return chosen
    return torch.where(image, 1.0, confidence[:, None] * confidence).masked_fill(~chosen, 0.0)


def contrast_classes(variant: Variant, refined: Tensor, guess: Tensor, tau_p: float) -> Tensor:
    """The class int64 [B_x + B_u] of each image in the contrastive loss, from targets [B_x, C] and [B_u, C].

    self: none has a class. sup: a labelled image has the class of its refined target. sup_pseudo: an unlabelled one
    too has that of its guessed target, where that is at least tau_p sure.
    """
    confidence, guessed = guess.max(dim=1)
    unlabelled = torch.where((confidence >= tau_p) & (variant == "sup_pseudo"), guessed, NO_CLASS)
    labelled = refined.argmax(dim=1)
    return torch.cat([torch.full_like(labelled, NO_CLASS) if variant == "self" else labelled, unlabelled])


def contrast_confidence(refined: Tensor, guess: Tensor) -> Tensor:
    """Confidence [B_x + B_u] of the class of each image: one for a labelled image, the largest guess for the others."""
    return torch.cat([torch.ones_like(refined[:, 0]), guess.amax(dim=1)])
