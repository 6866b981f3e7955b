"""The split of a method that does not split: what a mixture makes of its losses, for the record only."""

from __future__ import annotations

import torch
from torch import Tensor

from nlkit.methods.base import Split
from nlkit.params.sections import MixtureParams
from nlkit.parts.mixture import fit_mixture, normalise


def split_by_loss(losses: Tensor, params: MixtureParams) -> Split:
    """Losses [N] of one network, and P(clean) from a two-component mixture over them.

    P(clean) is one half everywhere where the losses are constant or not finite.
    """
    z = normalise(losses)
    if z is None:
        return Split(losses[None], torch.full_like(losses, 0.5)[None], (None,))
    mixture = fit_mixture(z, params)
    return Split(losses[None], mixture.p_clean(z).float()[None], (mixture,))
