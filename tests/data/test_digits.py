from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from nlkit.data import load_dataset


def test_shapes_scale_and_statistics() -> None:
    dataset = load_dataset("digits", Path("unused"))
    assert dataset.images.shape == (1347, 8, 8, 1) and dataset.test_images.shape == (450, 8, 8, 1)
    assert dataset.images.dtype == np.uint8 and dataset.labels.dtype == dataset.test_labels.dtype == np.int64
    assert dataset.images.min() == 0 and dataset.images.max() == 255
    assert np.isclose(dataset.images.mean() / 255, dataset.mean[0], atol=1e-4)
    assert np.isclose(dataset.images.std() / 255, dataset.std[0], atol=1e-4)
    assert dataset.class_names == tuple("0123456789") and dataset.warnings == ()


def test_training_and_test_images_are_the_bundled_ones() -> None:
    dataset = load_dataset("digits", Path("unused"))
    both = np.concatenate([dataset.images, dataset.test_images]).reshape(1797, 64)
    bundled = np.round(load_digits().data * 255 / 16).astype(np.uint8)
    np.testing.assert_array_equal(np.unique(both, axis=0), np.unique(bundled, axis=0))


def test_the_split_is_stratified_and_fixed() -> None:
    dataset = load_dataset("digits", Path("unused"))
    share = np.bincount(dataset.test_labels) / np.bincount(dataset.labels)
    assert np.ptp(share) < 0.02
    assert dataset.sha256 == "446ecec4af74bd114b3af36b0675aa5c41c6c02cea2dbdfd78e591699a6aac54"
