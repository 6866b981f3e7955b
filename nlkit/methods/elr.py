"""ELR: a penalty holds the network to what it predicted early, before it memorised (Liu et al., NeurIPS 2020)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nlkit.data.problem import TrainingSet
from nlkit.lazy import Generator, Tensor, functional, torch
from nlkit.methods.base import SingleNetwork, one_pass
from nlkit.params import Params
from nlkit.params.registry import Look, MethodParams, OwnImages, register
from nlkit.params.sections import MixtureParams, NonNegative, Positive, PositiveFloat
from nlkit.parts.epochs import cosine_restarts


class ELRParams(MethodParams):
    """Early-learning regularisation (Liu et al., NeurIPS 2020); the mixture is fitted for the figures only."""

    name: Literal["elr"]
    weight: NonNegative  # lambda
    beta: Annotated[float, Field(ge=0, lt=1)]  # momentum of the targets
    clamp: Annotated[float, Field(gt=0, lt=0.5)] = 1e-4  # the least probability in them
    cosine_epochs: Positive | None = None  # period of a cosine with restarts, from `optim.lr` to `lr_floor`
    lr_floor: PositiveFloat = 0.001
    mixture: MixtureParams = MixtureParams()


def check(params: Params[ELRParams]) -> None:
    """Raise ValueError for two schedules of the learning rate at once."""
    if params.method.cosine_epochs and (params.optim.drop_epochs or params.optim.schedule != "steps"):
        key = "drop_epochs" if params.optim.drop_epochs else "schedule"
        raise ValueError(f"optim.{key} has no meaning beside method.cosine_epochs")


def for_own_images(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """lambda and beta of the authors' CIFAR-10 settings; from 50 classes on those of CIFAR-100."""
    return {"weight": 7.0, "beta": 0.9} if classes >= 50 else {"weight": 3.0, "beta": 0.7}


@register(
    ELRParams,
    looks={"": Look("ELR", "#56B4E9", "v"), "-short": Look("ELR, short", "#A9DAF4", "1", page=False)},
    place=30,
    shown=("weight", "beta", "cosine_epochs"),
    check=check,
    passes=one_pass,
    own_images=OwnImages(for_own_images, why="one network, fast, and the best split of those tried on small data"),
    tiny={"weight": 3, "beta": 0.7},
)
class ELR(SingleNetwork[ELRParams]):
    """One network, and for each sample a target: the running mean of what was predicted for it."""

    kept = ("targets",)

    def __init__(self, data: TrainingSet, params: Params[ELRParams]) -> None:
        super().__init__(data, params)
        self.targets = torch.zeros(len(data), data.classes, device=self.device)

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """Cross-entropy and penalty of the samples `batch` [B], whose targets move before."""
        logits = self.learner(self.learner.views.weak(self.data.images[batch], stream))
        p = logits.softmax(dim=1).clamp(self.method.clamp, 1 - self.method.clamp)
        self.targets[batch] = moved(self.targets[batch], p.detach(), self.method.beta)
        loss = functional.cross_entropy(logits, self.data.labels[batch])
        return {"loss": loss, "penalty": early_learning(p, self.targets[batch])}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Cross-entropy plus lambda times the penalty."""
        return losses["loss"] + self.method.weight * losses["penalty"]

    def rate(self, time: float) -> float:
        """Steps, or a cosine with restarts; constant within an epoch."""
        period = self.method.cosine_epochs
        if period is None:
            return super().rate(time)
        return cosine_restarts(int(time), self.params.optim.lr, self.method.lr_floor, period)


def moved(targets: Tensor, p: Tensor, beta: float) -> Tensor:
    """beta t + (1 - beta) p / sum_c p_c for targets [B, C] and clamped predictions [B, C] (temporal ensembling)."""
    return beta * targets + (1 - beta) * p / p.sum(dim=1, keepdim=True)


def early_learning(p: Tensor, targets: Tensor) -> Tensor:
    """The penalty: mean over rows of log(1 - <p, t>) for predictions [B, C] and targets [B, C]; scalar.

    It falls as the prediction turns to the target, so that its gradient works against a label that disagrees.
    """
    return torch.log(1 - (p * targets).sum(dim=1)).mean()
