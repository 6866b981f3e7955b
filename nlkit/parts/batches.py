"""Which samples an epoch passes over, and in which batches."""

from __future__ import annotations

from collections.abc import Iterator

from nlkit.lazy import Tensor, torch


def shuffled_batches(items: Tensor, size: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Batches of a random permutation of `items` [n]; the last one may be short."""
    order = torch.randperm(len(items), generator=stream, device=items.device)
    yield from items[order].split(size)


def full_batches(items: Tensor, size: int, stream: torch.Generator) -> list[Tensor]:
    """Random batches of equal size; what is left over is dropped, unless there is nothing else.

    So each anchor of a contrastive loss meets as many others, and batch norm never sees a single image.
    """
    batches = list(shuffled_batches(items, size, stream))
    return [batch for batch in batches if len(batch) == size] or batches


def endless_batches(items: Tensor, size: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Batches of `items` [n] for ever: each pass is shuffled anew; empty batches where there are no items."""
    while True:
        yield from shuffled_batches(items, size, stream) if len(items) else [items]


def epoch_subset(labels: Tensor, count: int | None, classes: int, stream: torch.Generator) -> Tensor:
    """Indices of the samples that an epoch passes over: all of them, or where `count` is given a balanced subset."""
    if count is None:
        return torch.arange(len(labels), device=labels.device)
    return balanced_subset(labels, count, classes, stream)


def balanced_subset(labels: Tensor, count: int, classes: int, stream: torch.Generator) -> Tensor:
    """Indices int64 [<= count + classes] of a random subset with at most ceil(count / classes) samples of each class.

    labels: observed, int64 [N]. A class that has fewer is taken whole (official DivideMix code for Clothing1M).
    """
    order = torch.randperm(len(labels), generator=stream, device=labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels, minlength=classes)
    rank = torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    return by_class[rank < -(-count // classes)]
