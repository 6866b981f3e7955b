"""Label noise: generators, noise that depends on the image, and what came out."""

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

__all__ = [
    "CIFAR10_FLIPS",
    "DIGITS_FLIPS",
    "NoisyLabels",
    "asymmetric",
    "flips_of",
    "labels_sha256",
    "nominal_matrix",
    "symmetric",
    "transition_matrix",
]
