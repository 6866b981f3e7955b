"""Which labels agree with those of their nearest neighbours, in any frozen features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.parts.retrieval import nearest

LEAST_WEIGHT = 0.01


@dataclass(frozen=True)
class Neighbours:
    """A bank of unit features [N, d] with labels [N] and the weight of each label's vote [N]."""

    bank: Tensor
    centre: Tensor
    labels: Tensor
    weights: Tensor
    classes: int
    k: int
    temperature: float

    @torch.no_grad()
    def posterior(self, features: Tensor) -> Tensor:
        """Probability [M, C] of each class for further features [M, d]: the weighted vote of the k nearest."""
        distances, index = nearest(unit(features, self.centre), self.bank, self.k)
        return votes(distances, self.labels[index], self.weights[index], self.classes, self.temperature)


@torch.no_grad()
def fit_neighbours(
    features: Tensor, labels: Tensor, classes: int, k: int = 20, rounds: int = 6, temperature: float = 0.1
) -> tuple[Neighbours, Tensor]:
    """The bank, and for each sample the probability [N, C] of its class by its neighbours' labels, its own left out.

    features [N, d], labels int64 [N], N > 1. A label votes with exp(cosine / temperature) times the weight
    P(clean) = max(p(given label), 0.01) of the round before, at first 1: labels that disagree with their surroundings
    lose their say. At most N - 1 neighbours are asked.
    """
    centre = features.mean(dim=0)
    bank = unit(features, centre)
    k = min(k, len(bank) - 1)
    distances, index = _others(bank, k)
    weights = torch.ones(len(bank), dtype=bank.dtype)
    for _ in range(rounds):
        probability = votes(distances, labels[index], weights[index], classes, temperature)
        weights = probability.gather(1, labels[:, None])[:, 0].clamp_min(LEAST_WEIGHT)
    return Neighbours(bank, centre, labels, weights, classes, k, temperature), probability


def unit(features: Tensor, centre: Tensor) -> Tensor:
    """Features [N, d] without their centre, at length 1; the centre itself stays 0."""
    return functional.normalize((features - centre).double(), dim=1)


def votes(distances: Tensor, labels: Tensor, weights: Tensor, classes: int, temperature: float) -> Tensor:
    """Shares [M, C] of the votes of neighbours [M, k] at Euclidean distances between unit vectors."""
    cosine = 1 - distances**2 / 2
    say = torch.exp((cosine - cosine.amax(dim=1, keepdim=True)) / temperature) * weights
    total = say.new_zeros(len(say), classes).scatter_add_(1, labels, say)
    return total / total.sum(dim=1, keepdim=True)


def _others(bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices [N, k] of the nearest rows other than the row itself, which need not come first."""
    distances, index = nearest(bank, bank, k + 1)
    own = index == torch.arange(len(bank))[:, None]
    order = distances.masked_fill(own, torch.inf).argsort(dim=1, stable=True)[:, :k]
    return distances.gather(1, order), index.gather(1, order)
