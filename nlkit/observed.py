"""Observed labels: what the noise that the parameters name makes of a data set's own labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nlkit import data, noise, pmd
from nlkit.noise_params import AnyNoiseParams, PMDNoiseParams
from nlkit.pmd_network import read_probabilities, trained_probabilities
from nlkit.seeding import numpy_stream


def nominal_rate(params: AnyNoiseParams) -> float | None:
    """The rate that the noise was asked to have; None where none was asked for."""
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
