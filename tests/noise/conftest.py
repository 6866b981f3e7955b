"""The public labels, where they are here."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit.data import load_dataset, sources
from nlkit.noise import human


@pytest.fixture
def clean_labels(data_folder: Path) -> Callable[[str], np.ndarray]:
    """A function that gives the own training labels of CIFAR, from CIFAR-N's file or from CIFAR itself, or skips."""

    def find(dataset: str) -> np.ndarray:
        path = human.human_file(f"{dataset}n", data_folder)
        if path.is_file():
            return human.read_human_file(f"{dataset}n", path, None)["clean"]
        if sources()[dataset].missing(data_folder):
            reason = "names a folder without them" if "NLKIT_DATA" in os.environ else "is not set"
            pytest.skip(f"the labels of {dataset} are needed, and NLKIT_DATA {reason}")
        return load_dataset(dataset, data_folder).labels  # type: ignore[arg-type]

    return find
