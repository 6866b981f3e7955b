"""A learning problem on the device: what a method may see, and what only the measurement sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nlkit import data, noise
from nlkit.errors import NlkitError
from nlkit.params import DataParams, NoiseParams


@dataclass(frozen=True)
class TrainingSet:
    """All that a method sees: images uint8 [N, H, W, C] and observed labels int64 [N].

    encoder: weights `encoder.*` and `projector.*` of a pre-trained network, where the parameters refer to one.
    """

    images: Tensor
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
    tests: Mapping[str, tuple[Tensor, Tensor]]
    noise: noise.NoisyLabels
    dataset: str
    class_names: tuple[str, ...]
    sha256: str
    warnings: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """The device that holds the images."""
        return self.train.images.device


def load_problem(data_params: DataParams, noise_params: NoiseParams, root: Path, device: torch.device) -> Problem:
    """Load images, corrupt the labels, cut to `train_size` and move everything to the device.

    Noise is drawn on the whole training set first, so that a part has the labels of the whole.
    Raises NlkitError where data are missing, corrupt or too few.
    """
    dataset = data.load_dataset(data_params.name, root)
    observed = observed_labels(dataset, noise_params, root)
    size = data_params.train_size or len(dataset.labels)
    if size > len(dataset.labels):
        raise NlkitError(f"key 'data.train_size' is {size}: {dataset.name} has {len(dataset.labels)} training images")
    clean = dataset.labels[:size]
    nominal = noise_params.rate if noise_params.kind in ("symmetric", "asymmetric") else None
    train = TrainingSet(
        torch.from_numpy(dataset.images[:size].copy()).to(device),
        torch.from_numpy(observed[:size].copy()).to(device),
        len(dataset.class_names),
        dataset.mean,
        dataset.std,
    )
    test = torch.from_numpy(dataset.test_images).to(device), torch.from_numpy(dataset.test_labels).to(device)
    return Problem(
        train=train,
        clean=torch.from_numpy(clean.copy()).to(device),
        tests={"test": test},
        noise=noise.NoisyLabels.of(observed[:size], clean, nominal),
        dataset=dataset.name,
        class_names=dataset.class_names,
        sha256=dataset.sha256,
        warnings=dataset.warnings,
    )


def observed_labels(dataset: data.Dataset, params: NoiseParams, root: Path) -> np.ndarray:
    """The observed labels int64 [N] of a data set under the noise that the parameters name."""
    clean, classes = dataset.labels, len(dataset.class_names)
    match params.kind:
        case "none":
            return clean.copy()
        case "symmetric":
            return noise.symmetric(clean, params.rate, classes, params.seed, params.own_class)
        case "asymmetric":
            return noise.asymmetric(clean, params.rate, noise.flips_of(dataset.name), params.seed)
        case "human":
            assert params.annotator is not None
            return data.human_labels(params.annotator, root, dataset)
        case "file":
            assert params.file is not None
            return data.read_label_file(_label_path(params.file, root), len(clean), classes)


def _label_path(name: str, root: Path) -> Path:
    """A label file as given, else below the data root."""
    path = Path(name)
    return path if path.is_absolute() or path.exists() else root / path
