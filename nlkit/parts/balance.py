"""Random subsets in which no class is much larger than another."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_subset(labels: Tensor, count: int, classes: int, stream: torch.Generator) -> Tensor:
    """Indices int64 [<= count + classes] of a random subset with at most ceil(count / classes) samples of each class.

    labels: observed, int64 [N]. A class that has fewer is taken whole (official DivideMix code for Clothing1M).
    """
    order = torch.randperm(len(labels), generator=stream, device=labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels, minlength=classes)
    rank = torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    return by_class[rank < -(-count // classes)]


def epoch_subset(labels: Tensor, count: int | None, classes: int, stream: torch.Generator) -> Tensor:
    """Indices of the samples that an epoch passes over: all of them, or where `count` is given a balanced subset."""
    if count is None:
        return torch.arange(len(labels), device=labels.device)
    return balanced_subset(labels, count, classes, stream)
