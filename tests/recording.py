"""DivideMix past its warm-up, and a recorder of what its two networks see; for tests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tiny
import torch
from torch import Tensor

from nlkit.methods.dividemix import DivideMix


@dataclass
class Call:
    """One forward pass: of which network, in which mode, from what to what, with which weights."""

    net: int
    training: bool
    gradient: bool
    inputs: Tensor
    logits: Tensor
    weights: Tensor


@dataclass
class Step:
    """A training step: passes without gradient of the trained network and of its peer, and the one with gradient.

    The one pass of the trained network over u1, u2, x1 and x2 is taken apart into these four.
    """

    own: list[Call]
    peer: list[Call]
    mixed: Call


class Recording:
    """Every forward pass of all networks of a method from now on."""

    def __init__(self, method: Any) -> None:
        self.method = method
        self.calls: list[Call] = []
        self.nets = method.nets
        for k, learner in enumerate(self.nets):
            learner.net.register_forward_hook(self._hook(k))

    def _hook(self, k: int) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Tensor], logits: Tensor) -> None:
            tensors = [part.detach().clone() for part in (inputs[0], logits, module.classifier.weight)]
            self.calls.append(Call(k, module.training, torch.is_grad_enabled(), *tensors))

        return hook

    def steps(self, net: int | None = None) -> list[Step]:
        """The steps so far, of one network or of both."""
        found, start = [], 0
        for end, call in enumerate(self.calls):
            if call.gradient:
                part = self.calls[start:end]
                peer = [c for c in part if c.net != call.net]
                own = [c for c in part if c.net == call.net]
                rows = sum(len(c.inputs) for c in peer) // 2
                found.append(Step([view for c in own for view in _four_views(c, rows)], peer, call))
                start = end + 1
        return [step for step in found if net in (None, step.mixed.net)]

    def seen(self, net: int) -> list[int]:
        """The indices of all training images that a network has seen, sorted."""
        return sorted(self.samples(torch.cat([call.inputs for call in self.calls if call.net == net])))

    def samples(self, inputs: Tensor) -> list[int]:
        """The index of the training image that each row of inputs is."""
        plain = self.nets[0].views.plain(self.method.data.images).flatten(1)
        distances = (inputs.flatten(1)[:, None] - plain[None]).abs().amax(dim=2)
        assert float(distances.amin(dim=1).max()) < 1e-6
        return distances.argmin(dim=1).tolist()


def _four_views(call: Call, unlabelled: int) -> list[Call]:
    labelled = len(call.inputs) // 2 - unlabelled
    sizes = [unlabelled, unlabelled, labelled, labelled]
    pairs = zip(call.inputs.split(sizes), call.logits.split(sizes), strict=True)
    return [replace(call, inputs=inputs, logits=logits) for inputs, logits in pairs]


def dividemix(above: tuple[int, int] = (41, 54), problem: dict[str, Any] | None = None, **overrides: Any) -> Any:
    """DivideMix past its warm-up; views do nothing, so that inputs tell the sample.

    Network 1 gets `above[0]` labelled samples of 96, network 2 `above[1]`; every P(clean) is another number.
    """
    method = tiny.method("dividemix", tiny.problem(**(problem or {})).train, **{**tiny.PLAIN, **overrides})
    divide(method, above)
    return method


def divide(method: DivideMix, above: tuple[int, int]) -> None:
    """Give each network a division with so many labelled samples."""
    count = len(method.data)
    for network, number in enumerate(above):
        values = torch.cat([torch.linspace(0.61, 0.99, number), torch.linspace(0.01, 0.39, count - number)])
        order = torch.randperm(count, generator=tiny.stream(network))
        method.p_clean[1 - network] = values[order]
