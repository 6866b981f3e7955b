"""From the parameters of data and noise to a problem on the device."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nlkit import data, noise
from nlkit.data.folder import FolderData, load_folder
from nlkit.data.photo_list import PhotoList
from nlkit.data.store_build import build
from nlkit.data_params import AnyDataParams
from nlkit.errors import NlkitError
from nlkit.folder_params import FolderDataParams
from nlkit.noise_params import AnyNoiseParams
from nlkit.observed import nominal_rate, observed_labels
from nlkit.photo_params import PhotoDataParams
from nlkit.problem import Problem, TrainingSet
from nlkit.stored import Images, StoredImages

STORES = ".stores"
"""Folder below the data root that keeps decoded images."""


def load_problem(
    data_params: AnyDataParams,
    noise_params: AnyNoiseParams,
    root: Path,
    device: torch.device,
    side: int | None = None,
    progress: bool = False,
) -> Problem:
    """Load images, corrupt the labels, cut to `train_size` and move everything to the device.

    Noise is drawn on the whole training set first, so that a part has the labels of the whole. PMD noise is made
    for the part, and a label file may be. `side` is that of the views of photographs. Raises NlkitError where data are
    missing, corrupt or too few.
    """
    if isinstance(data_params, FolderDataParams):
        return folder_problem(load_folder(data_params), device)
    if isinstance(data_params, PhotoDataParams):
        return photo_problem(data_params, root, device, side or data_params.short, progress)
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
        noise=noise.NoisyLabels.of(observed, clean, nominal_rate(noise_params)),
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


def photo_problem(params: PhotoDataParams, root: Path, device: torch.device, side: int, progress: bool) -> Problem:
    """The problem of a large data set, whose images are decoded once and then read from a store.

    Its labels are as they were found, so no label is known to be right.
    """
    photos = data.load_photos(params.name, root)
    notes = list(photos.notes)

    def part(name: str, listed: PhotoList) -> tuple[StoredImages, Tensor]:
        store = build(listed, params.short, root / STORES, params.corrupt, progress)
        if store.faults:
            place = min(store.faults)
            first = f"{listed.names[place]}: {store.faults[place]}"
            notes.append(f"{params.name}, {name}: {len(store.faults)} of {len(listed)} images left out, first {first}")
        digest.update(f"{name} {store.sha256}".encode())
        labels = listed.labels[store.kept].astype(np.int64)
        digest.update(labels.tobytes())
        return StoredImages(store, side, device), torch.from_numpy(labels).to(device)

    digest = hashlib.sha256()
    images, labels = part("train", photos.train)
    tests: dict[str, tuple[Images, Tensor]] = {name: part(name, listed) for name, listed in photos.tests.items()}
    return Problem(
        train=TrainingSet(images, labels, len(photos.class_names), photos.mean, photos.std),
        clean=None,
        tests=tests,
        noise=noise.NoisyLabels.of(labels.cpu().numpy(), None, None),
        dataset=params.name,
        class_names=photos.class_names,
        sha256=digest.hexdigest(),
        warnings=tuple(notes),
    )
