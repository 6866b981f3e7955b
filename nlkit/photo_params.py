"""The parameters of the large data sets of photographs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.sections import Section


class PhotoDataParams(Section):
    """A data set of photographs in its official layout below the data root.

    `short` is the length of the short side, in pixels, that images are decoded to once. `corrupt` says whether an
    unreadable image is dropped, and listed, or ends the run.
    """

    name: Literal["webvision", "food101n", "clothing1m", "animal10n"]
    short: Annotated[int, Field(ge=8, le=512)]
    corrupt: Literal["drop", "fail"] = "drop"
