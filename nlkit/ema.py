"""An exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class Ema(Generic[Net]):
    """A copy whose weights and buffers follow those of a network.

    After update number n = 1, 2, ... the copy is d theta_ema + (1 - d) theta with d = min(decay, n / (n + 9)): the
    first updates forget the random start. The statistics of batch norm are averaged in the same way: the newest ones
    belong to weights that the copy has not reached yet, and do not fit its own. Whole numbers are copied.
    """

    def __init__(self, net: Net, decay: float) -> None:
        self.net: Net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: Net) -> None:
        """Move towards the weights that the network has now."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        mine: list[Tensor] = list(self.net.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.net.buffers(), net.buffers(), strict=True):
            own.lerp_(other, 1 - decay) if own.is_floating_point() else own.copy_(other)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and buffers, and the number of updates."""
        return {**self.net.state_dict(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.updates = int(state["updates"])
        self.net.load_state_dict({name: value for name, value in state.items() if name != "updates"})
