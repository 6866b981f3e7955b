"""Where features lie, for figures."""

from __future__ import annotations

import torch
from torch import Tensor

from nlkit.diagnosis import plane

MAP_POINTS = 2000
"""Samples whose place in the plane is recorded for the figure; the others are left out of it."""


def places(features: Tensor, name: str = "map") -> dict[str, Tensor]:
    """Coordinates `<name>_1` and `<name>_2` [N] of features [N, D] in the plane in which they differ most."""
    points = plane(features, features[:1])[0]
    points[MAP_POINTS:] = torch.nan
    return {f"{name}_{axis + 1}": points[:, axis].contiguous() for axis in (0, 1)}
