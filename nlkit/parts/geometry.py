"""Where features lie, for figures."""

from __future__ import annotations

import torch
from torch import Tensor

POINTS, AXES = 2000, 8
"""Samples whose place is recorded for the figure, and by how many coordinates; the others are left out of it."""


def principal(features: Tensor, axes: int = AXES) -> Tensor:
    """Coordinates [N, min(axes, D)] of features [N, D] along their principal axes, the widest first; for figures.

    An axis points to where its largest entry is positive.
    """
    centred = features.double() - features.double().mean(dim=0)
    found = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -axes:].flip(1)
    largest = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    return (centred @ (found * largest.sign())).float()


def places(features: Tensor, name: str = "map") -> dict[str, Tensor]:
    """The first coordinates `<name>_1`, ... [N] of features [N, D], unknown beyond the first POINTS rows."""
    points = principal(features)
    points[POINTS:] = torch.nan
    return {f"{name}_{axis + 1}": column.contiguous() for axis, column in enumerate(points.T)}
