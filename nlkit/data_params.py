"""The parameters of the data sets that are kept in memory, and of all data sets."""

from __future__ import annotations

from typing import Literal

from nlkit.folder_params import FolderDataParams
from nlkit.photo_params import PhotoDataParams
from nlkit.sections import Positive, Section

GREY = ("digits", "mnist", "fashion_mnist")
"""Data sets whose images have one channel."""


class DataParams(Section):
    """Which images to train on; `train_size` keeps the first so many training images."""

    name: Literal["digits", "cifar10", "cifar100", "mnist", "fashion_mnist"]
    train_size: Positive | None = None


AnyDataParams = DataParams | FolderDataParams | PhotoDataParams
