"""The rows of a bank of features that lie nearest to each query."""

from nlkit.kernels import form
from nlkit.kernels.neighbours import naive
from nlkit.lazy import Tensor, no_grad, torch


@no_grad()
def nearest(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices int64 [M, k] of the k rows of bank [N, d] nearest to each query [M, d], in order.

    In float32 or float64, without the M x N matrix. Of equal distances any order is right. Raises ValueError for k > N.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k is {k}; the bank has {len(bank)} rows")
    best = naive if queries.dtype == torch.float64 else form("neighbours", queries.device)
    return best.nearest(queries, bank, k)
