"""Label noise: generators, noise that depends on the image, labels from people and from files, and what came out."""

from nlkit.data.problem import NoisyLabels, labels_sha256
from nlkit.noise.generators import (
    CIFAR10_FLIPS,
    DIGITS_FLIPS,
    asymmetric,
    flips_of,
    nominal_matrix,
    symmetric,
    transition_matrix,
)
from nlkit.noise.human import human_labels, human_sources, read_label_file

__all__ = [
    "CIFAR10_FLIPS",
    "DIGITS_FLIPS",
    "NoisyLabels",
    "asymmetric",
    "flips_of",
    "human_labels",
    "human_sources",
    "labels_sha256",
    "nominal_matrix",
    "read_label_file",
    "symmetric",
    "transition_matrix",
]
