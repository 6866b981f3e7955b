"""Nearest neighbours among features, and what their labels say."""

from __future__ import annotations

from nlkit.lazy import Tensor, no_grad, torch


@no_grad
def nearest(queries: Tensor, bank: Tensor, k: int, rows: int = 1024, columns: int = 65536) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices [M, k] of the k rows of bank [N, d] nearest to each query [M, d], in order.

    Blocks of rows x columns squared distances are made at a time, as |q|^2 + |b|^2 - 2 q.b, and only the k best are
    kept; the M x N matrix never exists. Among equal distances any order is right. Raises ValueError for k > N.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k is {k}; the bank has {len(bank)} rows")
    blocks = [_nearest_of_block(block, bank, k, columns) for block in queries.split(rows)]
    distances, index = zip(*blocks, strict=True)
    return torch.cat(distances), torch.cat(index)


def _nearest_of_block(queries: Tensor, bank: Tensor, k: int, columns: int) -> tuple[Tensor, Tensor]:
    """The running k best over groups of columns."""
    wide = torch.promote_types(queries.dtype, torch.float32)
    queries = queries.to(wide)
    best = queries.new_full((len(queries), k), torch.inf)
    index = torch.zeros_like(best, dtype=torch.int64)
    lengths = (queries * queries).sum(dim=1, keepdim=True)
    for start in range(0, len(bank), columns):
        block = bank[start : start + columns].to(wide)
        squared = (lengths + (block * block).sum(dim=1) - 2 * queries @ block.T).clamp_min(0)
        numbers = torch.arange(start, start + len(block), device=bank.device).expand(len(queries), -1)
        best, place = torch.cat([best, squared], dim=1).topk(k, dim=1, largest=False)
        index = torch.cat([index, numbers], dim=1).gather(1, place)
    return best.sqrt(), index


def nearest_others(queries: Tensor, bank: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `nearest`, without the rows `own` [M] of the bank, each of which is that of the query itself.

    Raises ValueError for k >= N.
    """
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


def draw_labels(counts: Tensor, draws: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
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
