"""The parameters of the data sets that are kept in memory, and of all data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nlkit.params.sections import Positive, Section

GREY = ("digits", "mnist", "fashion_mnist")
"""Data sets whose images have one channel."""


class DataParams(Section):
    """Which images to train on; `train_size` keeps the first so many training images."""

    name: Literal["digits", "cifar10", "cifar100", "mnist", "fashion_mnist"]
    train_size: Positive | None = None


class FolderDataParams(Section):
    """A folder of images with given labels: a table `path,label`, or one sub-folder a class where `labels` is left out.

    `test` is a table of held-out images, `hold_out` the share to hold out at random instead, drawn by `split_seed`.
    `truth` names a column of correct labels that only the measurement sees. `side` is the side of the squares that
    images become. `corrupt` says whether an unreadable image is dropped or ends the run. `sha256`, where it is given,
    must be that of the pixels and labels that are found.
    """

    name: Literal["folder"]
    folder: str
    labels: str | None = None
    test: str | None = None
    hold_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    split_seed: int = 0
    truth: str | None = None
    side: Annotated[int, Field(ge=8, le=512)]
    corrupt: Literal["drop", "fail"] = "drop"
    sha256: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FolderDataParams:
        if self.test is not None and self.hold_out:
            raise ValueError("data.test and data.hold_out exclude each other; give one of them")
        if self.truth is not None and self.labels is None:
            raise ValueError("data.truth names a column of data.labels, which is missing")
        if self.truth in ("path", "label"):
            raise ValueError("data.truth must be a column other than 'path' and 'label'")
        return self


class PhotoDataParams(Section):
    """A data set of photographs in its official layout below the data root.

    `short` is the length of the short side, in pixels, that images are decoded to once. `corrupt` says whether an
    unreadable image is dropped, and listed, or ends the run.
    """

    name: Literal["webvision", "food101n", "clothing1m", "animal10n"]
    short: Annotated[int, Field(ge=8, le=512)]
    corrupt: Literal["drop", "fail"] = "drop"


AnyDataParams = DataParams | FolderDataParams | PhotoDataParams
