"""Batches of images of varying sizes."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from nlkit.data.photos.stored import ImageBatch


@pytest.fixture
def batch_of() -> Callable[[Sequence[np.ndarray], int], ImageBatch]:
    """A function that makes a batch of images uint8 [H, W, 3], whose views get squares of this side."""

    def make(images: Sequence[np.ndarray], side: int) -> ImageBatch:
        flat = torch.from_numpy(np.concatenate([image.ravel() for image in images]))
        heights, widths = (torch.tensor([image.shape[axis] for image in images]) for axis in (0, 1))
        offsets = (3 * heights * widths).cumsum(0) - 3 * heights * widths
        largest = int((heights * widths).max())
        return ImageBatch(flat, offsets, heights, widths, torch.arange(len(images)), side, largest)

    return make
