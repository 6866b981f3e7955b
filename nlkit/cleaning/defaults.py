"""Sensible parameters for images of one's own, from how many there are, how large, and on what they are trained."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nlkit.errors import NlkitError
from nlkit.params import registry

METHOD = "elr"  # the method where none is asked for
SIDES = (64, 56, 48, 40, 32, 24, 16, 8)
CPU_PRESENTATIONS = 72_000
GPU_PRESENTATIONS = 3_000_000
CPU_SECONDS = 20
FEW_IMAGES = 2000
SECONDS_PER_PIXEL = {"small_cnn": 4e-7, "pooled_resnet": 1.3e-6, "preact_resnet18": 3e-6}
"""About what one pixel of one image costs on one processor core, forward and backward, at the widths chosen here."""


@dataclass(frozen=True)
class Situation:
    """What the defaults are chosen from; `side` is the median short side of the images in pixels."""

    images: int
    classes: int
    side: int
    gpu: bool


def choose_side(situation: Situation) -> int:
    """Side of the squares: that of the images, at most 64, and on a CPU what one core trains in about 20 seconds.

    Not below 16 for few images, and not below 32 for many, which take longer.
    """
    own = max(situation.side // 8 * 8, 8)
    least = min(own, 16 if small(situation) else 32)
    cost = SECONDS_PER_PIXEL[_network(situation)[0]] * situation.images * choose_epochs(situation)
    affordable = (side for side in SIDES if situation.gpu or side <= least or cost * side**2 <= CPU_SECONDS)
    return next((side for side in affordable if side <= own), SIDES[-1])


def small(situation: Situation) -> bool:
    """Few images on a CPU, for which a small network is both faster and better."""
    return not situation.gpu and situation.images < FEW_IMAGES


def choose_epochs(situation: Situation) -> int:
    """Passes over the images: few where there are many images."""
    if situation.gpu:
        return int(np.clip(GPU_PRESENTATIONS // situation.images, 60, 150))
    return int(np.clip(CPU_PRESENTATIONS // situation.images, 20, 120))


def choose(
    situation: Situation, side: int, method: str, flip: bool, epochs: int | None = None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Parameters without `data`, for images of `side` pixels, and a table of what was chosen: `what, value, why`.

    Raises NlkitError for a method that has no settings for images of one's own.
    """
    entry = registry.find(method) if method in registry.names() else None
    if entry is None or entry.own_images is None:
        raise NlkitError(f"--method {method}: expected one of {', '.join(offered())}")
    asked, own = epochs is not None, entry.own_images
    epochs = max(1, choose_epochs(situation) // own.shorter) if epochs is None else epochs
    batch = _batch(situation.images)
    name, width, why = _network(situation)
    threads, where = None, "a GPU"
    if not situation.gpu:
        threads = 1 if small(situation) else min(os.cpu_count() or 1, 4)
        where = "one thread of a CPU" if threads == 1 else f"{threads} threads of a CPU"
    content: dict[str, Any] = {
        "paper": entry.paper,
        "noise": {"kind": "none"},
        "views": {"pad": max(1, side // 8), "flip": flip, "rotate": 10.0, "zoom": 0.1},
        "model": {"name": name, "width": width},
        "optim": {"lr": 0.05, "drop_epochs": [] if entry.params.own_schedule else [max(1, 3 * epochs // 4)]},
        "training": {
            "epochs": epochs,
            "batch_size": batch,
            "threads": threads,
            "snapshots": sorted({1, max(1, epochs // 8), max(1, epochs // 2), epochs}),
        },
        "method": {"name": method, **own.settings(epochs, side, situation.classes)},
    }
    mirrored = "asked for" if flip else "off: mirror images may mean something else; --flip where they do not"
    reasons = [
        ("size", f"{side} x {side}", f"images are about {situation.side} pixels high or wide; trained on {where}"),
        ("network", f"{name}, width {width}", why),
        ("epochs", str(epochs), "asked for" if asked else f"{situation.images} images"),
        ("batch", str(batch), f"{situation.images} images"),
        ("method", method, own.why),
        ("flip", "on" if flip else "off", mirrored),
    ]
    return content, pd.DataFrame(reasons, columns=["what", "value", "why"])


def offered() -> list[str]:
    """The methods that have settings for images of one's own, the default first."""
    found = [entry.name for entry in registry.everything() if entry.own_images is not None]
    return sorted(found, key=lambda name: name != METHOD)


def _network(situation: Situation) -> tuple[str, int, str]:
    if situation.gpu:
        return "preact_resnet18", 64, "the network of the papers, which a GPU can afford"
    if small(situation):
        return "small_cnn", 24, f"a small network for fewer than {FEW_IMAGES} images on a CPU"
    return "pooled_resnet", 24, "the network of the photographs on a laptop, for a CPU"


def _batch(images: int) -> int:
    """32 to 128; no last batch of one image, for which some batch norms have no variance."""
    size = 32 if images < 5000 else 64 if images < 20000 else 128
    while images > size and images % size == 1:
        size += 1
    return size
