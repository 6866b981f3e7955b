"""The handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as load_bundled_digits
from sklearn.model_selection import train_test_split

from nlkit.data.dataset import Dataset, content_sha256

TEST_COUNT = 450


def load_digits() -> Dataset:
    """Digits as images uint8 [N, 8, 8, 1]: 1,347 for training and 450 for testing.

    The split is fixed and stratified by class, and keeps the bundled order within each part. Pixels 0..16 are
    scaled to 0..255.
    """
    bundled = load_bundled_digits()
    images = np.rint(bundled.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bundled.target.astype(np.int64)
    train, test = _split(labels)
    pixels = images[train] / 255
    arrays = images[train], labels[train], images[test], labels[test]
    return Dataset(
        "digits",
        *arrays,
        class_names=tuple(str(name) for name in bundled.target_names),
        mean=(round(float(pixels.mean()), 4),),
        std=(round(float(pixels.std()), 4),),
        sha256=content_sha256(arrays),
    )


def _split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_COUNT, stratify=labels, random_state=0)
    return np.sort(train), np.sort(test)
