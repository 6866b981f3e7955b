"""What the runner asks of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from nlkit.data.photos.stored import Images
from nlkit.parts.mixture import Mixture

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


@dataclass
class Mean:
    """Running means that stay on the device until the epoch ends."""

    sums: dict[str, Tensor | float] = field(default_factory=dict)
    count: int = 0

    def add(self, **values: Tensor | float) -> None:
        """Add one step's values; tensors are detached."""
        self.count += 1
        for name, value in values.items():
            value = value.detach() if isinstance(value, Tensor) else value
            self.sums[name] = self.sums.get(name, 0.0) + value

    def result(self) -> dict[str, float]:
        """Mean of each value over the steps."""
        return {name: float(total) / self.count for name, total in self.sums.items()}


def with_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.name`."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def without_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, with that prefix removed."""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
