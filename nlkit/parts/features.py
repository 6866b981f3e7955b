"""Features: contrastive losses, nearest neighbours and what their labels say, and places for figures."""

from nlkit.kernels.neighbours import nearest
from nlkit.lazy import Generator, Tensor, torch

POINTS, AXES = 2000, 8
"""Samples whose place is recorded for the figure, and by how many coordinates; the others are left out of it."""


def supcon(z: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of rows z [n, D] with any set of positives P_i for each anchor i; a scalar in float32 at least.

    Mean over anchors of -1/|P_i| sum_{p in P_i} log( exp(z_i.z_p / T) / sum_{a != i} exp(z_i.z_a / T) )
    (Khosla et al., NeurIPS 2020, "L_out"). positives: bool [n, n], row i marks P_i, its diagonal is ignored; or float
    weights [n, n], which make the sum over P_i a weighted one and |P_i| the sum of the weights; they get no gradient.
    Anchors without positives are left out, and the loss is 0 where no anchor has any.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    with torch.autocast(z.device.type, enabled=False):
        products = z @ z.T
    with torch.no_grad():
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        chosen = positives.masked_fill(itself, 0).to(z.dtype)
        similar = (products / temperature).masked_fill(itself, -torch.inf)
        log_sums, counts = similar.logsumexp(dim=1, keepdim=True), chosen.sum(dim=1, keepdim=True)
        none = counts == 0
        shares = torch.where(none, 0.0, 1 / counts)
        pulled = (similar.masked_fill(chosen == 0, 0.0) * chosen).sum(dim=1, keepdim=True) * shares
        anchors = (~none).sum().clamp_min(1)
        loss = (log_sums - pulled).masked_fill(none, 0.0).sum() / anchors
        slopes = ((similar - log_sums).exp() - chosen * shares).masked_fill(none, 0.0)
    # The gradient by its closed form, d loss / d s_ia = (softmax_ia - [a in P_i] / |P_i|) / anchors: records were made
    # with it, and what autograd makes of the loss differs in the last bits. This sum has that gradient and a value of
    # its own, which is taken off again.
    pull = (products * slopes).sum() / (anchors * temperature)
    return pull - pull.detach() + loss


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views [B, D] of the same images, both directions, mean over the 2B anchors; a scalar.

    The denominator holds the positive and the 2B - 2 other rows (SimCLR, equation 1; TCL, L_ctr). Rows are
    used as they are: normalise them first.
    """
    views = torch.cat([first, second])
    source = torch.arange(len(first), device=first.device).repeat(2)
    return supcon(views, source[:, None] == source, temperature)


def nearest_others(queries: Tensor, bank: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `nearest`, without the row `own` [M] of the bank that is the query itself; raises ValueError for k >= N."""
    distances, index = nearest(queries, bank, k + 1)
    others = index != own[:, None]
    others[:, -1] &= ~others.all(dim=1)  # a row with k equal ones may be missing from its own list
    return distances[others].view(len(index), k), index[others].view(len(index), k)


def retrieve(bank: Tensor, queries: Tensor, own: Tensor, k: int, mode: str, exclude_self: bool) -> Tensor:
    """The rows [M, k + 1] of the bank [N, d] whose labels are the candidates of the queries [M, d].

    `own` [M] is the row of each query's image. `online` takes the k nearest rows and adds the own row, which then
    stands there twice if it is also its own neighbour; `precomputed` takes the k + 1 nearest rows. With
    `exclude_self` the own row is no neighbour. Raises ValueError where the bank has too few rows.
    """
    wanted = k if mode == "online" else k + 1
    index = (nearest_others(queries, bank, own, wanted) if exclude_self else nearest(queries, bank, wanted))[1]
    return torch.cat([index, own[:, None]], dim=1) if mode == "online" else index


def count_votes(labels: Tensor, index: Tensor, classes: int) -> Tensor:
    """How often [M, C] each class stands among the labels [N] of the neighbours `index` [M, k]."""
    votes = torch.zeros(len(index), classes, dtype=torch.int64, device=labels.device)
    return votes.scatter_add_(1, labels[index], torch.ones_like(index))


def draw_labels(counts: Tensor, draws: int, stream: Generator) -> tuple[Tensor, Tensor]:
    """Labels y' [M, draws] drawn with the probabilities n_c / sum n of counts [M, C], and their counts n_y'."""
    drawn = torch.multinomial(counts.float(), draws, replacement=True, generator=stream)
    return drawn, counts.gather(1, drawn)


def vote_weights(votes: Tensor) -> Tensor:
    """w = n_y' / sum of n_y' over all entries: weights of the same shape whose sum is one."""
    return votes / votes.sum()


def vote_logits(counts: Tensor) -> Tensor:
    """log((n_c + 1) / (sum n + C)) [M, C]: the vote as a distribution without zeros; its mode is the majority."""
    smooth = counts.float() + 1
    return (smooth / smooth.sum(dim=1, keepdim=True)).log()


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
    """Places [N, d] of points [N, D] seen from a centre [D] along axes [d, D], turned to their largest entries."""
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return ((points.double() - centre) @ (axes * largest.sign()).T).float()
