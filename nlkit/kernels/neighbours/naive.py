"""Nearest rows block by block: a matrix product for each, and the best of all blocks at the end."""

from nlkit.lazy import Tensor, torch

GROUPED = 16


def nearest(queries: Tensor, bank: Tensor, k: int, rows: int = 1024, columns: int = 32768) -> tuple[Tensor, Tensor]:
    """See the operation's own docstring; a block has rows x columns distances."""
    wide = torch.promote_types(queries.dtype, torch.float32)
    # All blocks are written into one space, since new memory costs as much time as the product.
    space = queries.new_empty(min(rows, len(queries)), min(columns, len(bank)), dtype=wide)
    blocks = [_nearest_of_block(block.to(wide), bank, k, space) for block in queries.split(rows)]
    distances, index = zip(*blocks, strict=True)
    return torch.cat(distances), torch.cat(index)


def _nearest_of_block(queries: Tensor, bank: Tensor, k: int, space: Tensor) -> tuple[Tensor, Tensor]:
    """Of each block of columns its k best; |q|^2, the same for all of a row, is added to those that are left."""
    found, columns = [], space.shape[1]
    for start in range(0, len(bank), columns):
        block = bank[start : start + columns].to(queries.dtype)
        apart = space[: len(queries), : len(block)]
        torch.addmm((block * block).sum(dim=1), queries, block.T, alpha=-2, out=apart)
        best, place = _smallest(apart, min(k, len(block)))
        found.append((best, place + start))
    best, index = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    best, place = best.topk(k, dim=1, largest=False)
    squared = best + (queries * queries).sum(dim=1, keepdim=True)
    return squared.clamp_min(0).sqrt(), index.gather(1, place)


def _smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row and their places, in order.

    They stand in the k groups with the smallest minima, and minima of groups are found faster than a row is sorted.
    """
    groups = values.shape[1] // GROUPED
    if groups <= k:
        return values.topk(k, dim=1, largest=False)
    whole = groups * GROUPED
    near = values[:, :whole].unflatten(1, (GROUPED, groups)).amin(dim=1).topk(k, dim=1, largest=False).indices
    members = near[:, :, None] + torch.arange(0, whole, groups, device=values.device)
    rest = torch.arange(whole, values.shape[1], device=values.device).expand(len(values), -1)
    places = torch.cat([members.flatten(1), rest], dim=1)
    best, chosen = values.gather(1, places).topk(k, dim=1, largest=False)
    return best, places.gather(1, chosen)
