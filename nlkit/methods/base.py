"""What the runner asks of a method, and what methods have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from nlkit.data.problem import Images, TrainingSet
from nlkit.lazy import DataFrame, Generator, Tensor, torch
from nlkit.params import M, Params
from nlkit.params.sections import MixtureParams
from nlkit.parts.epochs import epoch_subset, full_batches, learning_rate, shuffled_batches
from nlkit.parts.learner import Learner, with_prefix, without_prefix
from nlkit.parts.mixture import Mixture, fit_mixture, normalise
from nlkit.seeding import global_stream, numpy_stream, torch_stream

GRADIENT = 3
"""A forward pass with its backward pass, in forward passes: the backward one is counted twice."""

Tick = Callable[[float], object]
"""Called after each step with the share of the epoch that the step was."""


@dataclass(frozen=True)
class Split:
    """Per-sample evidence after an epoch, for K networks and N samples."""

    losses: Tensor  # cross-entropy [K, N] with the observed label
    p_clean: Tensor  # P(clean) [K, N]
    mixtures: tuple[Mixture | None, ...]  # of each network, None where its losses could not be separated
    threshold: float = 0.5  # clean means above it
    samples: dict[str, Tensor] = field(default_factory=dict)  # further values [N], recorded with the snapshots
    epoch: dict[str, Any] = field(default_factory=dict)  # further values of the epoch's row


class Method(Generic[M]):
    """A method of several networks, `nets`; it sees a training set and parameters, never clean labels or test data."""

    nets: Sequence[Learner]
    learner_type: type[Learner] = Learner
    clip: float | None = None  # largest norm of a gradient
    kept: Sequence[str] = ()  # names of its own tensors that the next epoch depends on

    def __init__(self, data: TrainingSet, params: Params[M], networks: int) -> None:
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.everything = torch.arange(len(data), device=self.device)
        self.events: list[str] = []
        self.epoch = 0  # of the last epoch, counted from one
        self.nets = [self.build_learner(f"net{k + 1}") for k in range(networks)]

    def build_learner(self, name: str) -> Learner:
        """A network before its first step, with its optimiser; `name` tells its random start from the others'."""
        return self.learner_type(self.data, self.params, name)

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """Train epoch 0, 1, ... and return its mean losses and counts by name."""
        raise NotImplementedError

    def split(self) -> Split:
        """Evaluate every training sample; called once after each epoch."""
        raise NotImplementedError

    @property
    def recorded(self) -> bool:
        """Whether the samples of the last epoch are recorded."""
        return self.epoch in {*self.params.training.snapshots, self.params.training.epochs}

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] of the ensemble, here the sum, and [K, N, C] of its networks, for uint8 [N, H, W, channels]."""
        logits = torch.stack([net.predict(images) for net in self.nets])
        return logits.sum(dim=0), logits

    def named_networks(self) -> dict[str, Learner]:
        """The networks by the first part of their tensors' names in the state."""
        return {f"net{k + 1}": net for k, net in enumerate(self.nets)}

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors that the next epoch depends on: weights and momenta of all networks, and what is `kept`."""
        state: dict[str, Tensor] = {name: getattr(self, name) for name in self.kept}
        for name, net in self.named_networks().items():
            state |= with_prefix(name, net.tensors())
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        for name, net in self.named_networks().items():
            net.load_tensors(without_prefix(name, state))
        for name in self.kept:
            setattr(self, name, state[name].clone())


class SingleNetwork(Method[M]):
    """A method of one network, `learner`: its epochs, and a split that only serves the record.

    With `balanced` an epoch passes over a class-balanced random subset of about that size.
    """

    in_full_batches = False  # whether what does not fill a batch is left out of an epoch
    mixing = "mixup"  # name of the stream from which the shares of mixup are drawn

    def __init__(self, data: TrainingSet, params: Params[M], balanced: int | None = None) -> None:
        super().__init__(data, params, networks=1)
        self.learner, self.balanced = self.nets[0], balanced

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all batches, with a step down the loss of each."""
        self.epoch = epoch + 1
        self.beta = numpy_stream(self.params.seed, self.mixing, epoch)
        stream = torch_stream(self.device, self.params.seed, self.method.name, epoch)
        batches = self.batches(stream)

        def step(number: int, batch: Tensor) -> dict[str, Tensor]:
            self.learner.set_rate(self.rate(epoch + number / len(batches)))
            losses = self.losses(batch, stream)
            self.learner.step(self.total(losses), self.clip)
            return losses

        with global_stream(self.device, self.params.seed, "dropout", epoch):
            return train_on(self.learner, batches, step, tick)

    def losses(self, batch: Tensor, stream: Generator) -> dict[str, Tensor]:
        """What is recorded of a step on the samples `batch` [B]: scalars, among them the `loss`."""
        raise NotImplementedError

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The scalar that a step goes down."""
        return losses["loss"]

    def batches(self, stream: Generator) -> Sequence[Tensor]:
        """The samples of an epoch in random order."""
        chosen = epoch_subset(self.data.labels, self.balanced, self.data.classes, stream)
        batches = full_batches if self.in_full_batches else shuffled_batches
        return batches(chosen, self.params.training.batch_size, stream)

    def rate(self, time: float) -> float:
        """The learning rate at a time in epochs, with fractions."""
        return learning_rate(self.params, time)

    def split(self) -> Split:
        """Losses [1, N] of plain images and what a two-component mixture makes of them; used for nothing."""
        return split_by_loss(self.learner.losses(self.data), self.method.mixture)  # type: ignore[attr-defined]

    def named_networks(self) -> dict[str, Learner]:
        """The one network, whose tensors need no name of their own."""
        return {"": self.learner}


def train_on(
    learner: Learner,
    batches: Sequence[Tensor],
    step: Callable[[int, Tensor], dict[str, Any]],
    tick: Tick,
    networks: int = 1,
) -> dict[str, float]:
    """Call `step` with the number and the samples of each batch, and return the mean of each value that it returns.

    The network is in training mode. Passes of so many `networks` make an epoch.
    """
    learner.net.train()
    learner.waiting = 0  # what an epoch leaves over makes no step
    count = networks * sum(len(batch) for batch in batches)
    sums: dict[str, Tensor | float] = {}
    for number, batch in enumerate(batches):
        for name, value in step(number, batch).items():
            value = value.detach() if isinstance(value, torch.Tensor) else value
            sums[name] = sums.get(name, 0.0) + value
        tick(len(batch) / count)
    return {name: float(total) / len(batches) for name, total in sums.items()}


def split_by_loss(losses: Tensor, params: MixtureParams) -> Split:
    """Losses [N] of one network, and P(clean) from a mixture over them; one half where they cannot be separated."""
    z = normalise(losses)
    if z is None:
        return Split(losses[None], torch.full_like(losses, 0.5)[None], (None,))
    mixture = fit_mixture(z, params)
    return Split(losses[None], mixture.p_clean(z).float()[None], (mixture,))


def one_pass(params: Params[Any], count: int, epochs: DataFrame) -> float:
    """Forward-equivalents of a method that sees each of `count` images once an epoch, with gradient."""
    return float(GRADIENT * count * len(epochs))


def in_full_batches(params: Params[Any], count: int) -> int:
    """How many of `count` images an epoch in batches of equal size passes over; what is left over is dropped."""
    size = params.training.batch_size
    return count // size * size if count >= size else count
