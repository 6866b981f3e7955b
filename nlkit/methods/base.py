"""What the runner asks of a method, and what methods of one network have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol

from nlkit.lazy import torch
from nlkit.params.load import M, Params
from nlkit.params.sections import MixtureParams
from nlkit.parts.learner import Learner
from nlkit.parts.mixture import Mixture, fit_mixture, normalise

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nlkit.data.photos.stored import Images
    from nlkit.data.problem import TrainingSet

GRADIENT = 3
"""A forward pass with its backward pass, in forward passes: the backward one is counted twice."""

Tick = Callable[[float], None]
"""Called after each step with the share of the epoch that the step was."""


@dataclass(frozen=True)
class Split:
    """Per-sample evidence after an epoch, for K networks and N samples.

    losses: cross-entropy [K, N] with the observed label; p_clean: P(clean) [K, N]; mixtures: the fitted
    mixture of each network, None where the losses could not be separated; threshold: clean means above it;
    samples: further values [N] to be recorded with the snapshots; epoch: further values of the epoch's row.
    """

    losses: Tensor
    p_clean: Tensor
    mixtures: tuple[Mixture | None, ...]
    threshold: float = 0.5
    samples: dict[str, Tensor] = field(default_factory=dict)
    epoch: dict[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """A method sees a training set and parameters, and never clean labels or test data."""

    events: list[str]

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """Train epoch 0, 1, ... and return its mean losses and counts by name."""
        ...

    def split(self) -> Split:
        """Evaluate every training sample; called once after each epoch."""
        ...

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] of the ensemble and [K, N, C] of its networks, for images uint8 [N, H, W, channels]."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors that the next epoch depends on."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        ...

    def parameters(self) -> int:
        """How many parameters one network of the method has."""
        ...


class SingleNetwork(Generic[M]):
    """A method of one network, `learner`: its logits, its state, and a split that only serves the record."""

    def __init__(self, data: TrainingSet, params: Params[M]) -> None:
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.learner = self.build_learner()
        self.events: list[str] = []

    def build_learner(self) -> Learner:
        """The network before its first step, with its optimiser."""
        return Learner(self.data, self.params, "net1")

    def split(self) -> Split:
        """Losses [1, N] of plain images and what a two-component mixture makes of them; used for nothing."""
        return split_by_loss(self.learner.losses(self.data), self.method.mixture)  # type: ignore[attr-defined]

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and [1, N, C]: the ensemble is the one network."""
        logits = self.learner.predict(images)
        return logits, logits[None]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and momenta."""
        return self.learner.tensors()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)

    def parameters(self) -> int:
        """How many parameters the network has."""
        return self.learner.parameters()


class SeveralNetworks(Generic[M]):
    """A method of several networks, `nets`: their logits and their state."""

    nets: Sequence[Learner]

    def __init__(self, data: TrainingSet, params: Params[M]) -> None:
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        self.events: list[str] = []

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Summed logits [N, C], and those [K, N, C] of each network."""
        logits = torch.stack([net.predict(images) for net in self.nets])
        return logits.sum(dim=0), logits

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and momenta of all networks."""
        return {f"net{k + 1}.{name}": value for k, net in enumerate(self.nets) for name, value in net.tensors().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        for k, net in enumerate(self.nets):
            net.load_tensors(without_prefix(f"net{k + 1}", state))

    def parameters(self) -> int:
        """How many parameters one of the networks has."""
        return self.nets[0].parameters()


def split_by_loss(losses: Tensor, params: MixtureParams) -> Split:
    """Losses [N] of one network, and P(clean) from a two-component mixture over them.

    P(clean) is one half everywhere where the losses are constant or not finite.
    """
    z = normalise(losses)
    if z is None:
        return Split(losses[None], torch.full_like(losses, 0.5)[None], (None,))
    mixture = fit_mixture(z, params)
    return Split(losses[None], mixture.p_clean(z).float()[None], (mixture,))


def one_pass(params: Params[Any], count: int, epochs: pd.DataFrame) -> float:
    """Forward-equivalents of a method that sees each of `count` images once an epoch, with gradient."""
    return float(GRADIENT * count * len(epochs))


def in_full_batches(params: Params[Any], count: int) -> int:
    """How many of `count` images an epoch in batches of equal size passes over; what is left over is dropped."""
    size = params.training.batch_size
    return count // size * size if count >= size else count


@dataclass
class Mean:
    """Running means that stay on the device until the epoch ends."""

    sums: dict[str, Tensor | float] = field(default_factory=dict)
    count: int = 0

    def add(self, **values: Tensor | float) -> None:
        """Add one step's values; tensors are detached."""
        self.count += 1
        for name, value in values.items():
            value = value.detach() if isinstance(value, torch.Tensor) else value
            self.sums[name] = self.sums.get(name, 0.0) + value

    def result(self) -> dict[str, float]:
        """Mean of each value over the steps."""
        return {name: float(total) / self.count for name, total in self.sums.items()}


def with_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.name`."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def without_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, with that prefix removed."""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
