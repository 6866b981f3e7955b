"""TCL+: TCL, then a second stage on corrected labels with bootstrapping (second script of the official TCL code)."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from nlkit.data.problem import TrainingSet
from nlkit.kernels.soft_losses import soft_cross_entropy
from nlkit.lazy import Generator, Tensor, functional, no_grad, torch
from nlkit.methods import tcl
from nlkit.methods.base import Method, SingleNetwork, Split, Tick
from nlkit.methods.tcl import TCL, TINY, TCLParams
from nlkit.params import Params
from nlkit.params.registry import MethodParams, OwnImages, register
from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat
from nlkit.parts import semi
from nlkit.parts.learner import Learner, TwinLearner, with_prefix, without_prefix
from nlkit.parts.mixture import posterior


class TCLPlusParams(MethodParams):
    """TCL followed by a second stage of `training.epochs - first_epochs` epochs at a constant learning rate `lr`."""

    own_schedule: ClassVar[bool] = True

    name: Literal["tcl_plus"]
    first: TCLParams
    first_epochs: Positive
    label_epochs: Annotated[int, Field(ge=0)] = 30  # of the second stage, in which corrected labels are the targets
    trust: Fraction = 0.8  # their share afterwards
    lr: PositiveFloat = 0.05
    weight_decay: NonNegative = 0.0001


def check(params: Params[TCLPlusParams]) -> None:
    """Raise ValueError where no epoch is left for the second stage."""
    if params.method.first_epochs >= params.training.epochs:
        raise ValueError("method.first_epochs must be below training.epochs; the others are the second stage")


def for_own_images(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """Two thirds of the epochs for the first stage, with TCL's settings."""
    first = max(1, 2 * epochs // 3)
    settings = {"name": "tcl", **tcl.for_own_images(first, side, classes)}
    return {"first": settings, "first_epochs": first, "label_epochs": max(1, epochs // 6)}


@register(
    TCLPlusParams,
    paper="tcl",
    place=61,
    check=check,
    own_images=OwnImages(for_own_images),
    tiny={"first": {"name": "tcl", **TINY}, "first_epochs": 2, "label_epochs": 1},
)
class TCLPlus(Method[TCLPlusParams]):
    """The first `first_epochs` epochs are TCL's; the others train encoder and classifier on corrected labels."""

    def __init__(self, data: TrainingSet, params: Params[TCLPlusParams]) -> None:
        super().__init__(data, params, networks=0)
        training = params.training.model_copy(update={"epochs": params.method.first_epochs})
        first: Params[Any] = params.model_copy(update={"method": params.method.first, "training": training})
        self.first = TCL(data, first)
        self.nets, self.events = self.first.nets, self.first.events
        self.second: SecondStage | None = None

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """An epoch of TCL, or of the second stage, which starts from the posterior of the last diagnosis."""
        if epoch < self.method.first_epochs:
            return self.first.train_epoch(epoch, tick)
        second = self.second
        if second is None:
            v, _ = self.first.learner.embed(self.data.images)
            mu = self.first.prototypes
            gamma = posterior(v, mu, torch.full_like(mu[:, 0], self.method.first.temperature))
            second = self._begin_second(correct(gamma, self.data.labels))
        return second.train_epoch(epoch, tick)

    def _begin_second(self, labels: Tensor) -> "SecondStage":
        """The stage that learns corrected labels [N]; from now on its follower is what is tested."""
        self.second = SecondStage(self.params, self.first, labels)
        self.nets = [self.second.follower]
        return self.second

    def split(self) -> Split:
        """That of TCL, whose network no longer changes in the second stage; there with the follower's losses."""
        split = self.first.split()
        return split if self.second is None else replace(split, losses=self.second.follower.losses(self.data)[None])

    def state_dict(self) -> dict[str, Tensor]:
        """The state of TCL; in the second stage also both networks and the corrected labels [N]."""
        state = with_prefix("first", self.first.state_dict())
        return state if self.second is None else state | self.second.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.first.load_state_dict(without_prefix("first", state))
        if "labels" in state:
            self._begin_second(state["labels"]).load_state_dict(state)


class SecondStage(SingleNetwork[TCLPlusParams]):
    """A copy of TCL's network that learns corrected labels [N] of mixed weak views.

    A further copy, the follower, has the weights before the last step, statistics of batch norm of its own, and no
    dropout. It gives the second half of the bootstrapped labels, and it is what is tested.
    """

    in_full_batches = True
    kept = ("labels",)

    def __init__(self, params: Params[TCLPlusParams], first: TCL, labels: Tensor) -> None:
        self.first, self.labels = first, labels
        super().__init__(first.data, params, first.balanced)
        self.follower = self.build_learner("net1")

    def build_learner(self, name: str) -> TwinLearner:
        """The network as TCL left it, with an optimiser of its own."""
        optim = self.params.optim.model_copy(update={"lr": self.method.lr, "weight_decay": self.method.weight_decay})
        learner = TwinLearner(self.data, self.first.params.model_copy(update={"optim": optim}), name)
        learner.net.load_state_dict(self.first.learner.net.state_dict())
        return learner

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in full batches, with corrected labels and later with bootstrapping."""
        self.bootstrapping = epoch >= self.method.first_epochs + self.method.label_epochs
        means = super().train_epoch(epoch, tick)
        return means | {"corrected": float((self.labels != self.data.labels).double().mean())}

    def rate(self, time: float) -> float:
        """A constant."""
        return self.method.lr

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """Cross-entropy of mixed weak views with the mixed corrected labels, or with both mixed guesses as well.

        With bootstrapping a label is for a share `trust` the corrected one, for the rest the class that the follower
        predicts for the weak view before mixing (hard bootstrapping).
        """
        share = semi.mixing_share(self.beta, self.method.first.alpha)
        views = self.learner.views.weak(self.data.images[batch], stream)
        order = torch.randperm(len(views), generator=stream, device=self.device)
        targets = functional.one_hot(self.labels[batch], self.data.classes).float()
        guess = functional.one_hot(self._follow(views), self.data.classes).float()
        if self.bootstrapping:
            targets = self.method.trust * targets + (1 - self.method.trust) * guess
        logits = self.learner(semi.mix(views, share, order))
        return {"loss": soft_cross_entropy(logits, semi.mix(targets, share, order))}

    @no_grad()
    def _follow(self, views: Tensor) -> Tensor:
        """Give the follower the present weights, and its classes [B] for the views under their own statistics."""
        pairs = zip(self.follower.net.parameters(), self.learner.net.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.copy_(theirs)
        self.follower.net.train()
        for module in self.follower.net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        return self.follower(views).argmax(dim=1)

    def named_networks(self) -> dict[str, Learner]:
        """Both networks."""
        return {"second": self.learner, "follower": self.follower}


def correct(gamma: Tensor, labels: Tensor) -> Tensor:
    """The class [N] of largest posterior gamma [N, C] where that is above one half, else the observed label [N]."""
    largest, classes = gamma.max(dim=1)
    return torch.where(largest > 0.5, classes, labels)
