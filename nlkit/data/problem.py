"""A learning problem on the device: what a method may see, and what only the measurement sees."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nlkit.lazy import Device, Tensor

if TYPE_CHECKING:
    from nlkit.data.photos.stored import Batch as Batch
    from nlkit.data.photos.stored import Images as Images
else:
    Batch = Images = Any  # for annotations only; the module imports PyTorch


@dataclass(frozen=True)
class NoisyLabels:
    """What is known of observed labels: the rate that was asked for, what came out, and their hash."""

    nominal: float | None
    realised: float | None
    sha256: str

    @classmethod
    def of(cls, labels: np.ndarray, clean: np.ndarray | None, nominal: float | None) -> Self:
        """Measure observed labels [N] against clean ones [N]."""
        realised = None if clean is None else float((labels != clean).mean())
        return cls(nominal, realised, labels_sha256(labels))


def labels_sha256(labels: np.ndarray) -> str:
    """SHA-256 over the labels [N] as unsigned bytes, in training order (wider where a label exceeds 255)."""
    labels = np.asarray(labels)
    return hashlib.sha256(labels.astype(np.min_scalar_type(max(labels.max(initial=0), 0))).tobytes()).hexdigest()


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
    noise: NoisyLabels
    dataset: str
    class_names: tuple[str, ...]
    sha256: str
    warnings: tuple[str, ...]

    @property
    def device(self) -> Device:
        """The device that holds the images."""
        return self.train.images.device
