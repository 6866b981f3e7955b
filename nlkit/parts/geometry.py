"""Where features lie, for figures: coordinates along principal axes."""

from nlkit.lazy import Tensor, torch

POINTS, AXES = 2000, 8
"""Samples whose place is recorded for the figure, and by how many coordinates; the others are left out of it."""


def places(features: Tensor, name: str = "map") -> dict[str, Tensor]:
    """The recorded coordinates of features [N, D] along their own min(AXES, D) principal axes, the widest first."""
    centre = features.double().mean(dim=0)
    centred = features.double() - centre
    found = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -AXES:].flip(1)
    return columns(_coordinates(features, centre, found.T), name)


def around_prototypes(v: Tensor, mu: Tensor, axes: int = AXES) -> tuple[Tensor, Tensor]:
    """Coordinates [N, d] of v [N, D] and [C, d] of mu [C, D] along the principal axes of the prototypes mu.

    d = min(axes, C - 1, D), at least 1: what C prototypes span.
    """
    centre = mu.double().mean(dim=0)
    found = torch.linalg.svd(mu.double() - centre, full_matrices=False).Vh[: max(1, min(axes, len(mu) - 1))]
    return _coordinates(v, centre, found), _coordinates(mu, centre, found)


def columns(points: Tensor, name: str = "map") -> dict[str, Tensor]:
    """Coordinates [N, d] as `<name>_1`, ... [N] for the record, unknown beyond the first POINTS rows."""
    points = points.clone()
    points[POINTS:] = torch.nan
    return {f"{name}_{axis + 1}": column.contiguous() for axis, column in enumerate(points.T)}


def _coordinates(points: Tensor, centre: Tensor, axes: Tensor) -> Tensor:
    """Places [N, d] of points [N, D] seen from a centre [D], along orthonormal axes [d, D].

    An axis points to where its largest entry is positive.
    """
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return ((points.double() - centre) @ (axes * largest.sign()).T).float()
