"""Random crop of the zero-padded image, horizontal flip and normalisation, for a batch."""

from nlkit.kernels.crop_flip.naive import crop_flip

__all__ = ["crop_flip"]
