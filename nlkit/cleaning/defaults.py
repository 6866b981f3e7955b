"""Sensible parameters for images of one's own, from how many there are, how large, and on what they are trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nlkit.errors import NlkitError

SIDES = (64, 56, 48, 40, 32, 24, 16, 8)
CPU_PRESENTATIONS = 72_000
GPU_PRESENTATIONS = 3_000_000
CPU_SECONDS = 20
FEW_IMAGES = 5000
SECONDS_PER_PIXEL = {"small_cnn": 4e-7, "preact_resnet18": 3e-6}
"""About what one pixel of one image costs on one processor core, forward and backward, at the widths chosen here."""


@dataclass(frozen=True)
class Situation:
    """What the defaults are chosen from; `side` is the median short side of the images in pixels."""

    images: int
    classes: int
    side: int
    device: torch.device

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


@dataclass(frozen=True)
class Choice:
    """A part of a parameter tree, and for each value that was chosen the reason."""

    content: dict[str, Any]
    reasons: tuple[tuple[str, str, str], ...]


def choose_side(situation: Situation) -> int:
    """Side of the squares: that of the images, at most 64, and on a CPU what one core trains in about half a minute.

    Not below 16 for few images, and not below 32 for many, which take longer.
    """
    own = max(situation.side // 8 * 8, 8)
    least = min(own, 16 if small(situation) else 32)
    for side in SIDES:
        affordable = situation.gpu or side <= least or _cpu_seconds(situation, side) <= CPU_SECONDS
        if side <= own and affordable:
            return side
    return SIDES[-1]


def small(situation: Situation) -> bool:
    """Few images on a CPU, for which a small network is both faster and better."""
    return not situation.gpu and situation.images < FEW_IMAGES


def _cpu_seconds(situation: Situation, side: int) -> float:
    """About what a run of one network costs on one core."""
    pixels = side**2 * situation.images * choose_epochs(situation)
    return SECONDS_PER_PIXEL[_network(situation)[0]] * pixels


def choose_epochs(situation: Situation) -> int:
    """Passes over the images: few where there are many images."""
    if situation.gpu:
        return int(np.clip(GPU_PRESENTATIONS // situation.images, 60, 150))
    return int(np.clip(CPU_PRESENTATIONS // situation.images, 20, 120))


def choose(situation: Situation, side: int, method: str, flip: bool, epochs: int | None = None) -> Choice:
    """Parameters without `data`, for images of `side` pixels; raises NlkitError for a method without defaults."""
    if method not in METHOD_DEFAULTS:
        raise NlkitError(f"--method {method}: expected one of {', '.join(METHOD_DEFAULTS)}")
    count = f"{situation.images} images" if epochs is None else "asked for"
    epochs = max(1, choose_epochs(situation) // SHORTER.get(method, 1)) if epochs is None else epochs
    batch = _batch(situation.images)
    name, width, why = _network(situation)
    own = METHOD_DEFAULTS[method](epochs, side, situation.classes)
    threads = None if situation.gpu else 1 if small(situation) else min(os.cpu_count() or 1, 4)
    content: dict[str, Any] = {
        "paper": method.removesuffix("_plus"),
        "noise": {"kind": "none"},
        "views": {"pad": max(1, side // 8), "flip": flip, "rotate": 10.0, "zoom": 0.1},
        "model": {"name": name, "width": width},
        "optim": {"lr": 0.05, "drop_epochs": [] if method in CURVES else [max(1, 3 * epochs // 4)]},
        "training": {
            "epochs": epochs,
            "batch_size": batch,
            "threads": threads,
            "snapshots": sorted({1, max(1, epochs // 8), max(1, epochs // 2), epochs}),
        },
        "method": {"name": method, **own},
    }
    where = "a GPU" if situation.gpu else "one thread of a CPU" if threads == 1 else f"{threads} threads of a CPU"
    mirrored = "asked for" if flip else "off: mirror images may mean something else; --flip where they do not"
    return Choice(
        content,
        (
            ("size", f"{side} x {side}", f"images are about {situation.side} pixels high or wide; trained on {where}"),
            ("network", f"{name}, width {width}", why),
            ("epochs", str(epochs), count),
            ("batch", str(batch), f"{situation.images} images"),
            ("method", method, METHOD_REASONS.get(method, "asked for")),
            ("flip", "on" if flip else "off", mirrored),
        ),
    )


def _network(situation: Situation) -> tuple[str, int, str]:
    if situation.gpu:
        return "preact_resnet18", 64, "the network of the papers, which a GPU can afford"
    if small(situation):
        return "small_cnn", 24, f"a small network for fewer than {FEW_IMAGES} images on a CPU"
    return "preact_resnet18", 16, "a narrow network of the papers, for a CPU"


def _batch(images: int) -> int:
    """32 to 128; no last batch of one image, for which some batch norms have no variance."""
    size = 32 if images < 5000 else 64 if images < 20000 else 128
    while images > size and images % size == 1:
        size += 1
    return size


def _elr(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """lambda and beta of the authors' CIFAR-10 settings; from 50 classes on those of CIFAR-100."""
    return {"weight": 7.0, "beta": 0.9} if classes >= 50 else {"weight": 3.0, "beta": 0.7}


def _dividemix(epochs: int, side: int, classes: int) -> dict[str, Any]:
    return {"warm_up": max(1, epochs // 6), "lambda_u": 0.0}


def _codim(epochs: int, side: int, classes: int) -> dict[str, Any]:
    strong = {"kind": "affine", "pad": max(1, side // 8), "rotate": 15.0, "zoom": 0.2, "erase": 0.5}
    return {**_dividemix(epochs, side, classes), "dim": 64, "hidden": 128, "strong": strong}


def _tcl(epochs: int, side: int, classes: int) -> dict[str, Any]:
    strong = {"kind": "affine", "pad": max(1, side // 8), "rotate": 10.0, "zoom": 0.1, "erase": 0.3}
    warm_up = {"warm_up": epochs // 8, "lr_warm_up": epochs // 8 + 1.0}
    return {**warm_up, "dim": 64, "hidden": 128, "strong": strong}


def _tcl_plus(epochs: int, side: int, classes: int) -> dict[str, Any]:
    first = max(1, 2 * epochs // 3)
    return {
        "first": {"name": "tcl", **_tcl(first, side, classes)},
        "first_epochs": first,
        "label_epochs": max(1, epochs // 6),
    }


METHOD_DEFAULTS: Mapping[str, Any] = {
    "elr": _elr,
    "confident_learning": lambda epochs, side, classes: {},
    "cross_entropy": lambda epochs, side, classes: {},
    "mixup": lambda epochs, side, classes: {"alpha": 1.0},
    "dividemix": _dividemix,
    "codim": _codim,
    "tcl": _tcl,
    "tcl_plus": _tcl_plus,
}
METHOD_REASONS = {"elr": "one network, fast, and the best split of those tried on small data"}
SHORTER = {"confident_learning": 4}
"""Networks that judge the labels of others must not learn wrong ones by heart."""
CURVES = ("tcl", "tcl_plus")
