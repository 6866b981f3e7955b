"""The parameters of weak random views."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from nlkit.params.sections import GREY, AnyDataParams, Fraction, NonNegative, PhotoDataParams, Pixels, Section, added

SMALLEST = 0.08


class ViewParams(Section):
    """The weak random view of an image: shift, flip, rotation (degrees) and zoom (relative)."""

    pad: Pixels = 4
    flip: bool = True
    rotate: NonNegative = 0.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0


class PhotoViewParams(Section):
    """Views of photographs of varying sizes: squares with sides of `size` pixels.

    The weak random view is a square of the image as it is (`crop`), or a box that is resized (`resized_crop`), which
    has at least the share `smallest` of the area and an aspect ratio in 3/4..4/3. The plain view is the middle square.
    """

    kind: Literal["crop", "resized_crop"]
    size: Annotated[int, Field(ge=8, le=512)]
    flip: bool = True
    smallest: Annotated[float, Field(gt=0, le=1)] = SMALLEST

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "crop" and self.smallest != SMALLEST:
            raise ValueError(f"views.smallest is {self.smallest}; it belongs to views.kind 'resized_crop'")
        return self


def _family(views: Any) -> str:
    """Only views of photographs have a `kind`."""
    given = "kind" in views if isinstance(views, dict) else isinstance(views, PhotoViewParams)
    return "photo" if given else "small"


AnyViewParams = Annotated[
    Annotated[ViewParams, Tag("small")] | Annotated[PhotoViewParams, Tag("photo")], Discriminator(_family)
]


class AffineStrongParams(Section):
    """The strong view of small upright images: shift (pixels), rotation (degrees), zoom, and an erased rectangle.

    `erase` is the longest side that the rectangle may have, as a share of the image's side.
    """

    kind: Literal["affine"]
    pad: Pixels = 2
    rotate: NonNegative = 20.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.2
    erase: Fraction = 0.5


class SimCLRParams(Section):
    """The strong view of photographs: random resized crop, flip, colour jitter, grey, blur, solarisation.

    `crop` is the smallest share of the area that a crop keeps; `jitter`, `grey`, `blur` and `solarise` are
    probabilities; the strengths of the jitter are relative, that of the hue in turns of the colour circle.
    """

    kind: Literal["simclr"]
    crop: Annotated[float, Field(gt=0, le=1)] = 0.2
    flip: bool = True
    jitter: Fraction = 0.8
    brightness: Fraction = 0.4
    contrast: Fraction = 0.4
    saturation: Fraction = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    grey: Fraction = 0.2
    blur: Fraction = added(0.0)
    solarise: Fraction = 0.5


class AutoAugmentParams(Section):
    """A strong view of photographs: crop of the zero-padded image, flip, and the AutoAugment policy of CIFAR-10."""

    kind: Literal["autoaugment"]
    pad: Pixels = 4
    flip: bool = True


class AutoAugmentPhotoParams(Section):
    """A strong view of varying photographs: crop of at least `smallest` of the area, flip, ImageNet's AutoAugment."""

    kind: Literal["autoaugment_imagenet"]
    smallest: Annotated[float, Field(gt=0, le=1)] = SMALLEST
    flip: bool = True


AffineOrSimCLR = Annotated[AffineStrongParams | SimCLRParams, Field(discriminator="kind")]
Strong = Annotated[
    AffineStrongParams | SimCLRParams | AutoAugmentParams | AutoAugmentPhotoParams, Field(discriminator="kind")
]


def check_views(data: AnyDataParams, views: ViewParams | PhotoViewParams, method: Section) -> None:
    """Raise ValueError where weak or strong views are not for these images, or larger than they are."""
    name, photographs = data.name, isinstance(data, PhotoDataParams)
    if photographs != isinstance(views, PhotoViewParams):
        needed = "views.kind 'crop' or 'resized_crop' and views.size" if photographs else "views.pad and no views.kind"
        raise ValueError(f"data.name '{name}' needs {needed}")
    if isinstance(data, PhotoDataParams) and isinstance(views, PhotoViewParams) and views.size > data.short:
        raise ValueError(f"views.size is {views.size}: larger than data.short, which is {data.short}")
    small = ["affine"] if name in GREY else ["affine", "simclr", "autoaugment"]
    allowed = ["simclr", "autoaugment_imagenet"] if photographs else small
    for stage, section in (("method", method), ("method.first", getattr(method, "first", None))):
        for key in ("strong", "contrast_strong"):
            kind = getattr(getattr(section, key, None), "kind", None)
            if kind not in (None, *allowed):
                expected = " or ".join(f"'{one}'" for one in allowed)
                raise ValueError(f"{stage}.{key}.kind is '{kind}': data.name '{name}' needs {expected}")
