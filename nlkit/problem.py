"""A learning problem on the device: what a method may see, and what only the measurement sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nlkit import data, noise, pmd
from nlkit.data.folder import FolderData, load_folder
from nlkit.errors import NlkitError
from nlkit.folder_params import FolderDataParams
from nlkit.noise_params import PMDNoiseParams
from nlkit.params import AnyDataParams, AnyNoiseParams
from nlkit.pmd_network import read_probabilities, trained_probabilities
from nlkit.seeding import numpy_stream
from nlkit.stored import Images


@dataclass(frozen=True)
class TrainingSet:
    """All that a method sees: images uint8 [N, H, W, C], or those of a store, and observed labels int64 [N].

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


def load_problem(data_params: AnyDataParams, noise_params: AnyNoiseParams, root: Path, device: torch.device) -> Problem:
    """Load images, corrupt the labels, cut to `train_size` and move everything to the device.

    Noise is drawn on the whole training set first, so that a part has the labels of the whole. PMD noise is made
    for the part, and a label file may be. Raises NlkitError where data are missing, corrupt or too few.
    """
    if isinstance(data_params, FolderDataParams):
        return folder_problem(load_folder(data_params), device)
    dataset = data.load_dataset(data_params.name, root)
    size = data_params.train_size or len(dataset.labels)
    if size > len(dataset.labels):
        raise NlkitError(f"key 'data.train_size' is {size}: {dataset.name} has {len(dataset.labels)} training images")
    observed = observed_labels(dataset, size, noise_params, root, device)
    clean = dataset.labels[:size]
    train = TrainingSet(
        torch.from_numpy(dataset.images[:size].copy()).to(device),
        torch.from_numpy(observed.copy()).to(device),
        len(dataset.class_names),
        dataset.mean,
        dataset.std,
    )
    test = torch.from_numpy(dataset.test_images).to(device), torch.from_numpy(dataset.test_labels).to(device)
    return Problem(
        train=train,
        clean=torch.from_numpy(clean.copy()).to(device),
        tests={"test": test},
        noise=noise.NoisyLabels.of(observed, clean, _nominal(noise_params)),
        dataset=dataset.name,
        class_names=dataset.class_names,
        sha256=dataset.sha256,
        warnings=dataset.warnings,
    )


def folder_problem(folder: FolderData, device: torch.device) -> Problem:
    """The problem of one's own images: given labels, and correct ones only where the folder's table tells them."""
    train, test = folder.train, folder.test

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    tests: dict[str, tuple[Images, Tensor]] = {}
    if test is not None:
        tests["test"] = tensor(test.images), tensor(test.labels if test.truth is None else test.truth)
    return Problem(
        train=TrainingSet(tensor(train.images), tensor(train.labels), len(folder.class_names), folder.mean, folder.std),
        clean=None if train.truth is None else tensor(train.truth),
        tests=tests,
        noise=noise.NoisyLabels.of(train.labels, train.truth, None),
        dataset="folder",
        class_names=folder.class_names,
        sha256=folder.sha256,
        warnings=folder.notes,
    )


def _nominal(params: AnyNoiseParams) -> float | None:
    if isinstance(params, PMDNoiseParams):
        return params.nominal
    return params.rate if params.kind in ("symmetric", "asymmetric") else None


def observed_labels(
    dataset: data.Dataset, size: int, params: AnyNoiseParams, root: Path, device: torch.device
) -> np.ndarray:
    """The observed labels int64 [size] of the first training images under the noise that the parameters name."""
    if isinstance(params, PMDNoiseParams):
        part = replace(dataset, images=dataset.images[:size], labels=dataset.labels[:size])
        return pmd_labels(part, params, root, device)
    clean, classes = dataset.labels, len(dataset.class_names)
    match params.kind:
        case "none":
            whole = clean
        case "symmetric":
            whole = noise.symmetric(clean, params.rate, classes, params.seed, params.own_class)
        case "asymmetric":
            whole = noise.asymmetric(clean, params.rate, noise.flips_of(dataset.name), params.seed)
        case "human":
            assert params.annotator is not None
            whole = data.human_labels(params.annotator, root, dataset)
        case "file":
            assert params.file is not None
            whole = data.read_label_file(_label_path(params.file, root), len(clean), classes, part=size)
    return whole[:size]


def pmd_labels(dataset: data.Dataset, params: PMDNoiseParams, root: Path, device: torch.device) -> np.ndarray:
    """Labels int64 [N] under PMD noise, with further noise on top where the parameters ask for it.

    The most probable class or the second one, by the margin between them; the rate is measured against the data
    set's own labels. Raises NlkitError for a rate that this noise cannot have.
    """
    found, factor = pmd_margins(dataset, params, root, device), params.factor
    if factor is None:
        assert params.rate is not None
        factor = pmd.solve_factor(found, dataset.labels, params.type, params.rate, params.reading)
    keep = pmd.keep_probability(found.delta, params.type, factor, params.reading)
    labels = pmd.draw(found, keep, numpy_stream(params.seed, "pmd"))
    if params.extra is None:
        return labels
    rng, classes = numpy_stream(params.seed, "pmd", "extra"), len(dataset.class_names)
    if params.extra.kind == "uniform":
        return pmd.add_uniform(labels, params.extra.rate, classes, rng)
    flips = pmd.block_flips(classes) if dataset.name == "cifar100" else noise.flips_of(dataset.name)
    return pmd.add_asymmetric(labels, params.extra.rate, flips, classes, rng)


def pmd_margins(dataset: data.Dataset, params: PMDNoiseParams, root: Path, device: torch.device) -> pmd.Margins:
    """The two most probable classes of each training image, trained or from the file that the parameters name."""
    if params.probabilities == "trained":
        return pmd.margins(trained_probabilities(dataset, device))
    shape = len(dataset.labels), len(dataset.class_names)
    return pmd.margins(read_probabilities(_label_path(params.probabilities, root), *shape))


def _label_path(name: str, root: Path) -> Path:
    """A label file as given, else below the data root."""
    path = Path(name)
    return path if path.is_absolute() or path.exists() else root / path
