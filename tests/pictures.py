"""Images of varying sizes: drawn, in a batch, in a store, and what is seen in their views; and small ones to clean."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

import nlkit
from nlkit.cleaning.results import CleanResult
from nlkit.data.photos.store import Store
from nlkit.data.photos.stored import ImageBatch

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def photographs(count: int, short: int = 24, seed: int = 0) -> list[np.ndarray]:
    """Smooth images in colour whose sides are at least `short` and mostly differ."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sides = short + rng.integers(0, short, 2) * rng.permutation([0, 1])
        slope = [np.linspace(0, rng.integers(20, 120), side) for side in sides]
        smooth = slope[0][:, None, None] + slope[1][None, :, None] * rng.random(3)
        found.append((smooth + rng.integers(0, 16, (*sides, 3))).astype(np.uint8))
    return found


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    """Write an image, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def batch_of(images: Sequence[np.ndarray], side: int, pad: int = 0) -> ImageBatch:
    """Images uint8 [H, W, 3] one after the other, behind `pad` other bytes; their views get squares of this side."""
    flat = np.concatenate([np.full(pad, 99, np.uint8), *(image.ravel() for image in images)])
    heights, widths = (torch.tensor([image.shape[axis] for image in images]) for axis in (0, 1))
    offsets = pad + (3 * heights * widths).cumsum(0) - 3 * heights * widths
    largest = int((heights * widths).max())
    return ImageBatch(torch.from_numpy(flat), offsets, heights, widths, torch.arange(len(images)), side, largest)


def rows(batch: ImageBatch, index: Tensor) -> ImageBatch:
    """The images of a batch at these places, each as often as it is named."""
    return replace(batch, **{name: getattr(batch, name)[index] for name in ("offsets", "heights", "widths", "keys")})


def store_of(images: Sequence[np.ndarray], folder: Path, first: int = 1000) -> Store:
    """A store that holds images uint8 [H, W, 3] of any sizes in one file; their keys count up from `first`."""
    path = folder / f"{first}.pixels"
    path.write_bytes(b"".join(image.tobytes() for image in images))
    heights, widths = (np.array([image.shape[axis] for image in images]) for axis in (0, 1))
    sizes, places = 3 * heights * widths, np.arange(len(images))
    digests = np.stack([first + places, *[0 * places] * 3], axis=1).view(np.uint8)  # eight bytes of each are its key
    return Store((path,), 0 * places, sizes.cumsum() - sizes, heights, widths, digests, places, {})


def levels(views: Tensor) -> Tensor:
    """The 8-bit levels [B, 3, H, W] of inputs that were normalised by MEAN and STD."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 255 * (views * std + mean)


QUICK: dict[str, Any] = {"epochs": 2, "size": 8, "settings": {"model.width": 4}}


def write_images(folder: Path, classes: int, each: int, flips: float = 0.0, names: str = "{}.png") -> Path:
    """Images whose brightness pattern tells the class, and labels.csv with the class names `c0, c1, ...`."""
    rng = np.random.default_rng(5)
    patterns = rng.integers(0, 200, (classes, 8, 8))
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(classes * each):
        truth = i % classes
        pixels = (patterns[truth] + rng.integers(0, 40, (8, 8))).astype(np.uint8)
        name = names.format(i)
        Image.fromarray(pixels).save(folder / "images" / name)
        label = (truth + rng.integers(1, classes)) % classes if rng.random() < flips else truth
        rows.append((name, f"c{label}", f"c{truth}"))
    pd.DataFrame(rows, columns=["path", "label", "truth"]).to_csv(folder / "labels.csv", index=False)
    return folder


def clean(folder: Path, **options: Any) -> CleanResult:
    given: dict[str, Any] = {"labels": folder / "labels.csv", "out": folder / "out" / "scores.csv"}
    return nlkit.clean(folder / "images", progress=False, **(given | QUICK | options))
