"""A learning problem on the device: what a method may see, and what only the measurement sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nlkit import noise
from nlkit.stored import Images


@dataclass(frozen=True)
class TrainingSet:
    """All that a method sees: images, uint8 [N, H, W, C] or those of a store, and observed labels int64 [N].

    encoder: weights `encoder.*` and `projector.*` of a pre-trained network, where the parameters refer to one.
    """

    images: Images
    labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoder: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Problem:
    """A training set, the clean labels [N] where they are known, and test sets; for the runner."""

    train: TrainingSet
    clean: Tensor | None
    tests: Mapping[str, tuple[Images, Tensor]]
    noise: noise.NoisyLabels
    dataset: str
    class_names: tuple[str, ...]
    sha256: str
    warnings: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """The device that holds the images."""
        return self.train.images.device
