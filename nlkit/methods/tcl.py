"""TCL: a mixture over representations finds wrong labels, two views correct each other (Huang et al., CVPR 2023)."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from nlkit.data.problem import TrainingSet
from nlkit.kernels.soft_losses import soft_cross_entropy
from nlkit.kernels.soft_targets import blend
from nlkit.lazy import DataFrame, Generator, Tensor, functional, no_grad, torch
from nlkit.methods.base import GRADIENT, SingleNetwork, Split, Tick, in_full_batches
from nlkit.params import Params
from nlkit.params.registry import Look, OwnImages, register
from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat, Width, added
from nlkit.params.views import AffineOrSimCLR, SimCLRParams
from nlkit.parts import semi
from nlkit.parts.epochs import warm_cosine
from nlkit.parts.features import around_prototypes, columns, nt_xent
from nlkit.parts.learner import TwinLearner
from nlkit.parts.mixture import Diagnosis, DiagnosisParams, diagnose, mixture_row, similarities
from nlkit.views.strong import strong_view

TINY = {"warm_up": 1, "lr_warm_up": 1, "dim": 8, "hidden": 16, "strong": {"kind": "affine", "pad": 1}}
"""Settings of a run of a second."""


class TCLParams(DiagnosisParams):
    """Twin Contrastive Learning (Huang et al., CVPR 2023), in the paper's symbols; `optim.lr` is the largest rate."""

    own_schedule: ClassVar[bool] = True

    name: Literal["tcl"]
    warm_up: Annotated[int, Field(ge=0)]
    lr_warm_up: PositiveFloat = 20.0
    lr_floor: Fraction = 0.01
    alpha: PositiveFloat = 1.0
    ctr_weight: NonNegative = 0.25
    marginal_weight: NonNegative = 1.0
    scale1: Fraction | None = None  # s1 and s2; the estimated share of clean labels where they are left out
    scale2: Fraction | None = None
    dim: Width = 256
    hidden: Width = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    strong: AffineOrSimCLR = SimCLRParams(kind="simclr")
    views: Literal["corrected", "published_code"] = added("corrected")  # the latter compares with the weak view
    balanced: Positive | None = added(None)  # size of the class-balanced subset of an epoch; all are diagnosed


def passes(params: Params[TCLParams], count: int, epochs: DataFrame) -> float:
    """Six views of each image of a full batch with gradient; all images after each epoch and before the first."""
    used = in_full_batches(params, min(count, params.method.balanced or count))
    return float(6 * GRADIENT * used * len(epochs) + count * (len(epochs) + 1))


def for_own_images(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """A warm-up of an eighth, narrow heads, and strong views without flips."""
    strong = {"kind": "affine", "pad": max(1, side // 8), "rotate": 10.0, "zoom": 0.1, "erase": 0.3}
    warm_up = {"warm_up": epochs // 8, "lr_warm_up": epochs // 8 + 1.0}
    return {**warm_up, "dim": 64, "hidden": 128, "strong": strong}


@register(
    TCLParams,
    looks={"": Look("TCL", "#009E73", "P")},
    place=60,
    shown=("warm_up", "lr_warm_up", "mixture_per", "scale1", "scale2", "ctr_weight", "dim", "hidden"),
    passes=passes,
    own_images=OwnImages(for_own_images),
    tiny=TINY,
)
class TCL(SingleNetwork[TCLParams]):
    """One network with two heads; labels are diagnosed before each epoch and corrected in each step."""

    learner: TwinLearner
    learner_type = TwinLearner
    in_full_batches = True
    kept = ("prototypes", "w")

    def __init__(self, data: TrainingSet, params: Params[TCLParams]) -> None:
        super().__init__(data, params, params.method.balanced)
        self.strong = strong_view(self.method.strong, data.mean, data.std, self.device)
        self.prototypes = self.w = torch.zeros(0, device=self.device)  # there is no diagnosis yet

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass in full batches with fixed prototypes and w, which at first are those of the untrained network."""
        if not len(self.w):
            self._diagnose()
        self.clean_ratio = float((self.w > 0.5).double().mean())
        return super().train_epoch(epoch, tick) | {"clean_ratio": self.clean_ratio}

    def rate(self, time: float) -> float:
        """A line from 0, then a cosine."""
        method = self.method
        return warm_cosine(time, self.params.optim.lr, method.lr_warm_up, self.params.training.epochs, method.lr_floor)

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """Six losses of the samples `batch` [B] and their weighted sum; one pass of 6B rows shares batch statistics."""
        mu, tau, images = self.prototypes, self.method.temperature, self.data.images[batch]
        share = semi.mixing_share(self.beta, self.method.alpha)
        weak = self.learner.views.weak(images, stream)
        first, second = self.strong(images, stream), self.strong(images, stream)
        if self.method.views == "published_code":
            weak, first, second = first, second, weak
        views = torch.cat([weak, first, second])
        order = torch.randperm(len(views), generator=stream, device=self.device)
        v, logits = self._forward(weak, semi.mix(views, share, order), first, second)
        labels = functional.one_hot(self.data.labels[batch], self.data.classes).float()
        w, scales = self.w[batch], self._scales()
        if self.epoch <= self.method.warm_up:
            w, scales = torch.ones_like(w), (1.0, 1.0)
        targets = make_targets(logits[1], logits[2], labels, w, scales, share, order)
        on_mixed, on_first, on_second = map(soft_cross_entropy, logits, targets)
        everything = torch.cat([logits[1], logits[2], logits[0]])
        losses = {
            "loss_ctr": nt_xent(v[1], v[2], tau),
            "loss_cls1": on_first + on_second,
            "loss_cls2": on_mixed,
            "loss_align": soft_cross_entropy(v[0] @ mu.T / tau, targets[0]),
            "loss_ent": -semi.negative_entropy(everything),
            "loss_ne": semi.negative_marginal_entropy(everything),
        }
        return {"loss": self._total(losses), **losses}

    def _forward(self, weak: Tensor, *rows: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Unit projections and logits of mixed rows [3B, .] and strong views [B, .]; `weak` is for batch statistics."""
        v, logits = self.learner.both(torch.cat([weak, *rows]))
        sizes = [len(weak), *map(len, rows)]
        return v.split(sizes)[1:], logits.split(sizes)[1:]

    def _scales(self) -> tuple[float, ...]:
        """s1 and s2; where the parameters leave one out it is the share of labels with w > 0.5."""
        given = self.method.scale1, self.method.scale2
        return tuple(self.clean_ratio if scale is None else scale for scale in given)

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """L = ctr_weight L_ctr + L_cls1 + L_cls2 + L_align + L_ent + marginal_weight L_ne."""
        weights = {"loss_ctr": self.method.ctr_weight, "loss_ne": self.method.marginal_weight}
        return torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()

    def _diagnose(self) -> tuple[Diagnosis, Tensor, Tensor]:
        """Diagnose all labels by the network as it is now, with the projections [N, D] and logits [N, C] behind it."""
        v, logits = self.learner.embed(self.data.images)
        found = diagnose(v, logits.softmax(dim=1), self.data.labels, self.method)
        self.prototypes, self.w = found.prototypes, found.w
        return found, v, logits

    def split(self) -> Split:
        """Diagnose all labels, for use in the next epoch; losses are cross-entropies, P(clean) is w."""
        diagnosis, v, logits = self._diagnose()
        losses = functional.cross_entropy(logits, self.data.labels, reduction="none")
        if diagnosis.score is None:
            self.events.append("scores cannot be separated; every label gets P(clean) 0.5")
        samples, row = _for_figures(diagnosis, v, self.data.labels)
        return Split(losses[None], self.w[None], (None,), samples=samples, epoch=row)


@no_grad()
def make_targets(
    first: Tensor, second: Tensor, labels: Tensor, w: Tensor, scales: tuple[float, ...], share: float, order: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets of the mixed rows [3B, C] and of both strong views [B, C], from the logits [B, C] of these views.

    labels: one-hot [B, C]; w [B]; scales: (s1, s2). t1 = (1 - s1 w) p2 + s1 w y and t2 likewise with p1: each view is
    taught by the other (cross-supervision). Mixed rows mix t = (1 - s2 w) (p1 + p2)/2 + s2 w y as the views were mixed.
    With w = s1 = s2 = 1, as in the warm-up, all are the labels.
    """
    p1, p2 = first.softmax(dim=1), second.softmax(dim=1)
    base = blend(labels, (p1 + p2) / 2, scales[1] * w)
    mixed = semi.mix(base.repeat(3, 1), share, order)
    return mixed, blend(labels, p2, scales[0] * w), blend(labels, p1, scales[0] * w)


def _for_figures(diagnosis: Diagnosis, v: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Scores, similarities and places by sample; the mixture and the places of the prototypes for the epoch."""
    points, centres = around_prototypes(v, diagnosis.prototypes)
    own, other = similarities(v, labels, diagnosis.prototypes)
    unknown = torch.full_like(diagnosis.w, torch.nan)
    score = unknown if diagnosis.score is None else diagnosis.score.float()
    samples = {"score": score, "own": own.contiguous(), "other": other, **columns(points)}
    row: dict[str, Any] = {f"prototypes_{axis + 1}": centre.tolist() for axis, centre in enumerate(centres.T)}
    return samples, row | mixture_row("score", diagnosis.mixture)
