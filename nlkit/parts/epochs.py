"""An epoch: which samples it passes over, in which batches, and learning rates as functions of time in epochs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from nlkit.lazy import Generator, Tensor, torch
from nlkit.params import Params


def shuffled_batches(items: Tensor, size: int, stream: Generator) -> Sequence[Tensor]:
    """Batches of a random permutation of `items` [n]; the last one may be short."""
    return items[torch.randperm(len(items), generator=stream, device=items.device)].split(size)


def full_batches(items: Tensor, size: int, stream: Generator) -> Sequence[Tensor]:
    """Random batches of equal size; what is left over is dropped, unless there is nothing else.

    So each anchor of a contrastive loss meets as many others, and batch norm never sees a single image.
    """
    batches = shuffled_batches(items, size, stream)
    return [batch for batch in batches if len(batch) == size] or batches


def endless_batches(items: Tensor, size: int, stream: Generator) -> Iterator[Tensor]:
    """Batches of `items` [n] for ever: each pass is shuffled anew; empty batches where there are no items."""
    while True:
        yield from shuffled_batches(items, size, stream) if len(items) else [items]


def epoch_subset(labels: Tensor, count: int | None, classes: int, stream: Generator) -> Tensor:
    """Indices of the samples that an epoch passes over: all of them, or where `count` is given a balanced subset.

    labels: observed, int64 [N]. The subset int64 [<= count + classes] has at most ceil(count / classes) samples of
    each class, drawn at random. A class that has fewer is taken whole (official DivideMix code for Clothing1M).
    """
    if count is None:
        return torch.arange(len(labels), device=labels.device)
    order = torch.randperm(len(labels), generator=stream, device=labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels, minlength=classes)
    rank = torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    return by_class[rank < -(-count // classes)]


def learning_rate(params: Params[Any], time: float) -> float:
    """The learning rate at a time in epochs: `lr` with its drops, or on one cosine over the run (`optim.schedule`)."""
    optim = params.optim
    if optim.schedule == "cosine":
        return warm_cosine(time, optim.lr, optim.warm_up, params.training.epochs - optim.warm_up, 0.0)
    return optim.lr * optim.drop_factor ** sum(time >= drop for drop in optim.drop_epochs)


def warm_cosine(time: float, peak: float, warm_up: float, period: float, floor: float) -> float:
    """Linear from 0 to `peak` over `warm_up` epochs, then half a cosine towards `floor * peak`; times in epochs.

    As in TCL's code the cosine has the full period although it starts late: a run of `period` epochs ends above it.
    """
    if time < warm_up:
        return peak * time / warm_up
    low = floor * peak
    return low + (peak - low) * (1 + math.cos(math.pi * (time - warm_up) / period)) / 2


def cosine_restarts(epoch: int, peak: float, floor: float, period: int) -> float:
    """Half a cosine from `peak` towards `floor` over `period` epochs, again and again; constant within an epoch."""
    return floor + (peak - floor) * (1 + math.cos(math.pi * (epoch % period) / period)) / 2


def joined_cosine(time: float, peak: float, start: float, warm_up: float, period: float, floor: float) -> float:
    """Half a cosine from `peak` at time 0 to `floor * peak` at `period`, its beginning replaced by a line.

    The line rises from `start` and meets the curve after `warm_up` epochs (the SupContrast repository). Where the
    period is not longer than the warm-up there is only the line. Times in epochs.
    """
    low = floor * peak

    def curve(moment: float) -> float:
        return low + (peak - low) * (1 + math.cos(math.pi * min(moment / period, 1.0))) / 2

    if time >= warm_up:
        return curve(time)
    return start + (curve(warm_up) - start) * time / warm_up
