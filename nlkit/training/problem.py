"""From the parameters of data and noise to a problem on the device."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlkit import data, noise
from nlkit.data.problem import Problem, TrainingSet
from nlkit.errors import NlkitError
from nlkit.files import locate
from nlkit.lazy import Tensor, torch
from nlkit.params import Params
from nlkit.params.sections import AnyNoiseParams, DataParams, FolderDataParams, PhotoDataParams, PMDNoiseParams
from nlkit.params.views import PhotoViewParams
from nlkit.seeding import numpy_stream

if TYPE_CHECKING:
    from nlkit.data.folder import FolderData
    from nlkit.data.photos import PhotoList
    from nlkit.data.photos.stored import Images, StoredImages


def load_problem(params: Params[Any], root: Path, device: torch.device, progress: bool = False) -> Problem:
    """The problem of parameters, on the device; raises NlkitError where data below `root` are missing or too few."""
    if isinstance(params.data, FolderDataParams):
        from nlkit.data.folder import load_folder

        return folder_problem(load_folder(params.data), device)
    if isinstance(params.data, PhotoDataParams):
        assert isinstance(params.views, PhotoViewParams)
        return photo_problem(params.data, root, device, params.views.size, progress)
    return memory_problem(params.data, params.noise, root, device)


def memory_problem(params: DataParams, noise_params: AnyNoiseParams, root: Path, device: torch.device) -> Problem:
    """The problem of a data set that fits into memory.

    Noise is drawn on the whole training set first, so that a part has the labels of the whole. PMD noise is made
    for the part, and a label file may be.
    """
    dataset = data.load_dataset(params.name, root)
    size = params.train_size or len(dataset.labels)
    if size > len(dataset.labels):
        raise NlkitError(f"key 'data.train_size' is {size}: {dataset.name} has {len(dataset.labels)} training images")
    observed = observed_labels(dataset, size, noise_params, root, device)
    clean = dataset.labels[:size]
    images, labels = torch.tensor(dataset.images[:size], device=device), torch.tensor(observed, device=device)
    test_images, test_labels = (
        torch.tensor(part, device=device) for part in (dataset.test_images, dataset.test_labels)
    )
    return Problem(
        train=TrainingSet(images, labels, len(dataset.class_names), dataset.mean, dataset.std),
        clean=torch.tensor(clean, device=device),
        tests={"test": (test_images, test_labels)},
        noise=noise.NoisyLabels.of(observed, clean, noise_params.nominal),
        dataset=dataset.name,
        class_names=dataset.class_names,
        sha256=dataset.sha256,
        warnings=dataset.warnings,
    )


def folder_problem(folder: FolderData, device: torch.device) -> Problem:
    """The problem of one's own images: given labels, and correct ones only where the folder's table tells them."""
    train, test = folder.train, folder.test
    images, labels = torch.as_tensor(train.images, device=device), torch.as_tensor(train.labels, device=device)
    tests: dict[str, tuple[Images, Tensor]] = {}
    if test is not None:
        known = test.labels if test.truth is None else test.truth
        tests["test"] = torch.as_tensor(test.images, device=device), torch.as_tensor(known, device=device)
    return Problem(
        train=TrainingSet(images, labels, len(folder.class_names), folder.mean, folder.std),
        clean=None if train.truth is None else torch.as_tensor(train.truth, device=device),
        tests=tests,
        noise=noise.NoisyLabels.of(train.labels, train.truth, None),
        dataset="folder",
        class_names=folder.class_names,
        sha256=folder.sha256,
        warnings=folder.notes,
    )


def photo_problem(params: PhotoDataParams, root: Path, device: torch.device, side: int, progress: bool) -> Problem:
    """The problem of a large data set from a store of decoded images, in views of `side` pixels; no truth is known."""
    from nlkit.data.photos.catalog import load_photos
    from nlkit.data.photos.store import build
    from nlkit.data.photos.stored import StoredImages

    photos = load_photos(params.name, root)
    notes, digest = list(photos.notes), hashlib.sha256()
    most = None if params.staged_gib is None else params.staged_gib * 2**30

    def part(name: str, listed: PhotoList) -> tuple[StoredImages, Tensor]:
        store = build(listed, params.short, root / ".stores", params.corrupt, progress)
        if store.faults:
            place = min(store.faults)
            first = f"{listed.names[place]}: {store.faults[place]}"
            notes.append(f"{params.name}, {name}: {len(store.faults)} of {len(listed)} images left out, first {first}")
        labels = listed.labels[store.kept].astype(np.int64)
        digest.update(f"{name} {store.sha256}".encode())
        digest.update(labels.tobytes())
        return StoredImages(store, side, device, most), torch.from_numpy(labels).to(device)

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
            whole = noise.human_labels(params.annotator, root, dataset)
        case "file":
            assert params.file is not None
            whole = noise.read_label_file(locate(params.file, root), len(clean), classes, part=size)
    return whole[:size]


def pmd_labels(dataset: data.Dataset, params: PMDNoiseParams, root: Path, device: torch.device) -> np.ndarray:
    """Labels int64 [N] under PMD noise, with further noise on top where the parameters ask for it.

    The most probable class or the second one, by the margin between them; the rate is measured against the data
    set's own labels. Raises NlkitError for a rate that this noise cannot have.
    """
    found, factor = pmd_margins(dataset, params, root, device), params.factor
    if factor is None:
        assert params.rate is not None
        factor = noise.solve_factor(found, dataset.labels, params.type, params.rate, params.reading)
    keep = noise.keep_probability(found.delta, params.type, factor, params.reading)
    labels = noise.draw(found, keep, numpy_stream(params.seed, "pmd"))
    if params.extra is None:
        return labels
    rng, classes = numpy_stream(params.seed, "pmd", "extra"), len(dataset.class_names)
    if params.extra.kind == "uniform":
        return noise.add_uniform(labels, params.extra.rate, classes, rng)
    flips = noise.block_flips(classes) if dataset.name == "cifar100" else noise.flips_of(dataset.name)
    return noise.add_asymmetric(labels, params.extra.rate, flips, rng)


def pmd_margins(dataset: data.Dataset, params: PMDNoiseParams, root: Path, device: torch.device) -> noise.Margins:
    """The two most probable classes of each training image, trained or from the file that the parameters name."""
    if params.probabilities == "trained":
        from nlkit.training.pmd_network import trained_probabilities

        return noise.margins(trained_probabilities(dataset, device))
    shape = len(dataset.labels), len(dataset.class_names)
    return noise.margins(noise.read_probabilities(locate(params.probabilities, root), *shape))
