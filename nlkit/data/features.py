"""Features of the images of a data set, made elsewhere, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nlkit.data.arrays import read_npy, read_npz
from nlkit.errors import NlkitError


def read_feature_file(path: Path) -> np.ndarray:
    """Features float32 [N, d] from `.npy`, or from `.npz` with one array or a key 'features'.

    Raises NlkitError for a missing or damaged file, another ending, another number of axes, an empty array, integers,
    or values that are not finite.
    """
    readers = {".npy": read_npy, ".npz": _features_of_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise NlkitError(f"{path}: the ending '{path.suffix}' is unknown; a file of features is .npy or .npz")
    features = reader(path)
    if features.ndim != 2 or 0 in features.shape:
        raise NlkitError(f"{path}: has the shape {features.shape}; features are one row an image, [N, d]")
    if features.dtype.kind != "f":
        raise NlkitError(f"{path}: holds {features.dtype}; features are floating-point numbers")
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise NlkitError(f"{path}: row {int(np.argwhere(~np.isfinite(features))[0][0])} is not finite in float32")
    return features


def _features_of_npz(path: Path) -> np.ndarray:
    arrays = read_npz(path)
    if "features" in arrays:
        return arrays["features"]
    if len(arrays) != 1:
        raise NlkitError(f"{path}: holds {len(arrays)} arrays; expected one, or one of the name 'features'")
    return next(iter(arrays.values()))
