"""The contrastive loss with the whole matrix of similarities: slow in memory, easy to check, and the truth."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive(z: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Mean over anchors i of -1/|P_i| sum_{p in P_i} log( exp(s_ip) / sum_{a != i} exp(s_ia) ), s = z z^T / T.

    z: float [n, D]; positives: bool [n, n], row i marks P_i, its diagonal is ignored; or float weights [n, n], which
    make the sum over P_i a weighted one and |P_i| the sum of the weights. Anchors without
    positives are left out of the mean; 0 where no anchor has any. Returns a scalar of z's type.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    chosen = positives.masked_fill(itself, 0).to(z.dtype)
    similar = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = similar - similar.logsumexp(dim=1, keepdim=True)
    anchors = (chosen > 0).any(dim=1)
    sums = (log_share.masked_fill(itself, 0.0) * chosen).sum(dim=1)[anchors]
    return -(sums / chosen.sum(dim=1)[anchors]).sum() / anchors.sum().clamp_min(1)
