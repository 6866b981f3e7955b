"""Learning rates as functions of time in epochs, with fractions."""

from __future__ import annotations

import math


def warm_cosine(time: float, peak: float, warm_up: float, period: float, floor: float) -> float:
    """Linear from 0 to `peak` over `warm_up` epochs, then half a cosine towards `floor * peak`; times in epochs.

    m + (peak - m)(1 + cos(pi (time - warm_up) / period)) / 2 with m = floor * peak. As in TCL's code the
    cosine has the full period although it starts late, so a run of `period` epochs ends above the floor.
    """
    if time < warm_up:
        return peak * time / warm_up
    low = floor * peak
    return low + (peak - low) * (1 + math.cos(math.pi * (time - warm_up) / period)) / 2


def cosine_restarts(epoch: int, peak: float, floor: float, period: int) -> float:
    """Half a cosine from `peak` towards `floor` over `period` epochs, again and again; constant within an epoch."""
    return floor + (peak - floor) * (1 + math.cos(math.pi * (epoch % period) / period)) / 2
