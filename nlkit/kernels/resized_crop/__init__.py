"""Cut a box of each image of a batch of varying sizes and resize it to a square; or cut a square as it is.

Image by image is faster on a CPU, where a call costs little.
"""

from torch import Tensor

from nlkit.data.photos.stored import ImageBatch
from nlkit.kernels.resized_crop import naive, one_by_one
from nlkit.kernels.resized_crop.naive import Box

__all__ = ["Box", "cut", "resized_crop"]


def resized_crop(batch: ImageBatch, box: Box, size: int, flip: Tensor, longest: int) -> Tensor:
    """As `naive.resized_crop`, on a CPU up to one grey level."""
    form = one_by_one if batch.device.type == "cpu" else naive
    return form.resized_crop(batch, box, size, flip, longest)


def cut(batch: ImageBatch, top: Tensor, left: Tensor, size: int, flip: Tensor) -> Tensor:
    """As `naive.cut`."""
    form = one_by_one if batch.device.type == "cpu" else naive
    return form.cut(batch, top, left, size, flip)
