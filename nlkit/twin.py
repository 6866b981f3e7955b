"""A learner whose network has a classifier and a projector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.learner import Learner
from nlkit.models import TwinNet
from nlkit.stored import Images


class TwinLearner(Learner):
    """A learner of a TwinNet; projections leave it with length one and in float32."""

    def both(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Unit projections v [B, D] and logits [B, C] of normalised inputs, in the network's current mode."""
        assert isinstance(self.net, TwinNet)
        with self._autocast():
            projections, logits = self.net.both(inputs.contiguous(memory_format=torch.channels_last))
        return functional.normalize(projections.float(), dim=1), logits.float()

    @torch.no_grad()
    def embed(self, images: Images) -> tuple[Tensor, Tensor]:
        """Unit projections [N, D] and logits [N, C] of plain images uint8 [N, H, W, C], in evaluation mode."""
        training = self.net.training
        self.net.eval()
        parts = [self.both(self.views.plain(part)) for part in images.split(self.eval_batch_size)]
        self.net.train(training)
        projections, logits = zip(*parts, strict=True)
        return torch.cat(projections), torch.cat(logits)
