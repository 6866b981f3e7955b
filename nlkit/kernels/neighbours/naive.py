"""Nearest rows block by block: a matrix product for each, and a running list of the best."""

from nlkit.lazy import Tensor, torch


def nearest(queries: Tensor, bank: Tensor, k: int, rows: int = 1024, columns: int = 65536) -> tuple[Tensor, Tensor]:
    """See the operation's own docstring; a block has rows x columns distances."""
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
