"""TCL+: TCL, then a second stage on corrected labels with bootstrapping (second script of the official TCL code)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from nlkit.lazy import functional, no_grad, torch
from nlkit.methods import tcl
from nlkit.methods.base import Mean, Split, Tick, with_prefix, without_prefix
from nlkit.methods.tcl import TCL, TINY, TCLParams
from nlkit.params import Params
from nlkit.params.registry import MethodParams, OwnImages, register
from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat
from nlkit.parts import semi
from nlkit.parts.diagnosis import posterior
from nlkit.parts.heads import TwinLearner
from nlkit.seeding import global_stream, numpy_stream, torch_stream

if TYPE_CHECKING:
    from torch import Tensor

    from nlkit.data.photos.stored import Images
    from nlkit.data.problem import TrainingSet


class TCLPlusParams(MethodParams):
    """TCL followed by a second stage of `training.epochs - first_epochs` epochs at a constant learning rate `lr`.

    For `label_epochs` epochs the corrected labels are the targets; afterwards they have the share `trust`.
    """

    own_schedule: ClassVar[bool] = True

    name: Literal["tcl_plus"]
    first: TCLParams
    first_epochs: Positive
    label_epochs: Annotated[int, Field(ge=0)] = 30
    trust: Fraction = 0.8
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
    tiny={
        "first": {"name": "tcl", **TINY},
        "first_epochs": 2,
        "label_epochs": 1,
    },
)
class TCLPlus:
    """The first `first_epochs` epochs are TCL's; the others train encoder and classifier on corrected labels.

    A copy of the network follows one step behind, with statistics of batch norm of its own and without dropout.
    It gives the second half of the bootstrapped labels, and it is what is tested.
    """

    def __init__(self, data: TrainingSet, params: Params[TCLPlusParams]) -> None:
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.first = TCL(data, _first_stage(params))
        self.events = self.first.events
        self.learner: TwinLearner | None = None
        self.follower: TwinLearner | None = None
        self.labels = data.labels

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """An epoch of TCL, or of the second stage."""
        if epoch < self.method.first_epochs:
            return self.first.train_epoch(epoch, tick)
        if self.learner is None:
            self._begin()
        assert self.learner is not None
        bootstrapping = epoch >= self.method.first_epochs + self.method.label_epochs
        stream = torch_stream(self.device, self.params.seed, "tcl_plus", epoch)
        beta = numpy_stream(self.params.seed, "mixup", epoch)
        batches = self.first.full_batches(stream)
        self.learner.net.train()
        mean = Mean()
        with global_stream(self.device, self.params.seed, "dropout", epoch):
            for batch in batches:
                share = beta.beta(self.method.first.alpha, self.method.first.alpha)
                loss = self._loss(batch, max(share, 1 - share), bootstrapping, stream)
                self.learner.step(loss)
                mean.add(loss=loss)
                tick(1 / len(batches))
        return mean.result() | {"corrected": float((self.labels != self.data.labels).double().mean())}

    def _begin(self) -> None:
        """Correct the labels by the posterior of the last diagnosis, and copy the network twice."""
        diagnosis = self.first.diagnosis
        assert diagnosis is not None
        v, _ = self.first.learner.embed(self.data.images)
        sigma = torch.full_like(diagnosis.prototypes[:, 0], self.method.first.temperature)
        self.labels = correct(posterior(v, diagnosis.prototypes, sigma), self.data.labels)
        self._make_networks()

    def _make_networks(self) -> None:
        """The network of the second stage with an optimiser of its own, and its follower; both as TCL left them."""
        optim = self.params.optim.model_copy(update={"lr": self.method.lr, "weight_decay": self.method.weight_decay})
        params = self.first.params.model_copy(update={"optim": optim})
        self.learner, self.follower = (TwinLearner(self.data, params, "net1") for _ in range(2))
        for one in (self.learner, self.follower):
            one.net.load_state_dict(self.first.learner.net.state_dict())

    def _loss(self, batch: Tensor, share: float, bootstrapping: bool, stream: torch.Generator) -> Tensor:
        """Cross-entropy of mixed weak views with the mixed corrected labels, or with both mixed guesses as well.

        With bootstrapping a label is 0.8 the corrected one and 0.2 the class that the follower predicts for the
        plain weak view (hard bootstrapping).
        """
        assert self.learner is not None
        views = self.learner.views.weak(self.data.images[batch], stream)
        order = torch.randperm(len(views), generator=stream, device=self.device)
        targets = functional.one_hot(self.labels[batch], self.data.classes).float()
        guess = functional.one_hot(self._follow(views), self.data.classes).float()
        if bootstrapping:
            targets = self.method.trust * targets + (1 - self.method.trust) * guess
        logits = self.learner(semi.mix(views, share, order))
        return semi.soft_cross_entropy(logits, semi.mix(targets, share, order))

    @no_grad
    def _follow(self, views: Tensor) -> Tensor:
        """Give the follower the present weights, and its classes [B] for the views under their own statistics."""
        assert self.learner is not None and self.follower is not None
        pairs = zip(self.follower.net.parameters(), self.learner.net.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.copy_(theirs)
        self.follower.net.train()
        for module in self.follower.net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        return self.follower(views).argmax(dim=1)

    def split(self) -> Split:
        """That of TCL, whose network no longer changes in the second stage; there with the follower's losses."""
        if self.follower is None:
            return self.first.split()
        return replace(self.first.split(), losses=self.follower.losses(self.data)[None])

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C] of TCL's classifier, in the second stage of the follower."""
        if self.follower is None:
            return self.first.logits(images)
        logits = self.follower.predict(images)
        return logits, logits[None]

    def parameters(self) -> int:
        """How many parameters the network has."""
        return self.first.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """The state of TCL; in the second stage also both networks and the corrected labels [N]."""
        state = with_prefix("first", self.first.state_dict())
        if self.learner is not None and self.follower is not None:
            state |= with_prefix("second", self.learner.tensors()) | with_prefix("follower", self.follower.tensors())
            state["labels"] = self.labels
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.first.load_state_dict(without_prefix("first", state))
        self.learner = self.follower = None
        self.labels = self.data.labels
        if "labels" in state:
            self._make_networks()
            assert self.learner is not None and self.follower is not None
            self.learner.load_tensors(without_prefix("second", state))
            self.follower.load_tensors(without_prefix("follower", state))
            self.labels = state["labels"].clone()


def correct(gamma: Tensor, labels: Tensor) -> Tensor:
    """The class [N] of largest posterior gamma [N, C] where that is above one half, else the observed label [N]."""
    largest, classes = gamma.max(dim=1)
    return torch.where(largest > 0.5, classes, labels)


def _first_stage(params: Params[TCLPlusParams]) -> Params[Any]:
    """The parameters under which TCL runs as the first stage; its learning rate knows no second one."""
    training = params.training.model_copy(update={"epochs": params.method.first_epochs})
    update: dict[str, Any] = {"method": params.method.first, "training": training}
    return params.model_copy(update=update)
