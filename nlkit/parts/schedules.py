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
