"""What the loaders of large data sets return: names and labels of image files, before any is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class PhotoList:
    """N image files below the folder `root`: names relative to it, with '/', and labels int64 [N]."""

    root: Path
    names: Sequence[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PhotoSet:
    """A data set of photographs: what to train on with observed labels, test sets by name, and how to normalise.

    The first of `tests` is called 'test'. mean, std: per channel, of pixels in 0..1. `notes` say what is unusual
    about the files, one line each.
    """

    name: str
    train: PhotoList
    tests: Mapping[str, PhotoList]
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notes: tuple[str, ...] = ()
