"""The step that DivideMix takes from MixMatch: rows and targets mixed with each other, and three losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nlkit.parts import semi
from nlkit.parts.learner import Learner


@dataclass(frozen=True)
class Views2:
    """Two weak views [B, channels, H, W] of each image of a batch (M = 2)."""

    first: Tensor
    second: Tensor


def mixmatch(
    net: Learner,
    x: Views2,
    u: Views2,
    refined: Tensor,
    guess: Tensor,
    share: float,
    stream: torch.Generator,
    rows_seen: Literal["all", "labelled"] = "all",
) -> dict[str, Tensor]:
    """L_x, L_u and L_reg of labelled views x and unlabelled views u, mixed with each other, and their targets.

    With `rows_seen` labelled the network sees the mixed rows of x only, and u enters as their partners.
    """
    inputs = torch.cat([x.first, x.second, u.first, u.second])
    targets = torch.cat([refined, refined, guess, guess])
    order = torch.randperm(len(inputs), generator=stream, device=inputs.device)
    rows = 2 * len(refined)
    mixed, mixed_targets = semi.mixup(inputs, targets, share, order[:rows] if rows_seen == "labelled" else order)
    logits = net(mixed)
    return {
        "loss_x": semi.soft_cross_entropy(logits[:rows], mixed_targets[:rows]),
        "loss_u": semi.consistency(logits[rows:], mixed_targets[rows:]),
        "loss_reg": semi.prior_penalty(logits),
    }
