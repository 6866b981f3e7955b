"""What the official layouts of photographs have in common: folders with several usual names, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nlkit.data.files import is_folder
from nlkit.data.photo_list import PhotoList

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel statistics of ImageNet, as DivideMix uses them for WebVision and LRA-diffusion for Food-101N."""


def find_folder(root: Path, names: Sequence[str]) -> Path:
    """The first of the folders `names` that is there below `root`; where none is, the place of the first."""
    return next((root / name for name in names if is_folder(root / name)), root / names[0])


def empty_classes(photos: PhotoList, class_names: Sequence[str]) -> tuple[str, ...]:
    """A note that names the classes without training images, if there are any."""
    counts = np.bincount(photos.labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    return (f"{len(empty)} classes have no training images: {', '.join(empty[:8])}",) if empty else ()
