"""A learner whose network has a classifier and a projector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.models import ContrastiveNet, TwinNet
from nlkit.parts.learner import Learner


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


class ContrastiveLearner(Learner):
    """A learner of a ContrastiveNet; embeddings and features leave it with length one and in float32."""

    @property
    def parts(self) -> ContrastiveNet:
        """The network, known to have its three parts."""
        assert isinstance(self.net, ContrastiveNet)
        return self.net

    def embed(self, inputs: Tensor) -> Tensor:
        """Unit embeddings z [B, dim] of normalised inputs [B, channels, H, W], in the network's current mode."""
        with self._autocast():
            z = self.parts.project(inputs.contiguous(memory_format=torch.channels_last))
        return functional.normalize(z.float(), dim=1)

    @torch.no_grad()
    def features(self, images: Images) -> Tensor:
        """Unit features [N, D] of plain images uint8 [N, H, W, C], in evaluation mode and in order."""
        training = self.net.training
        self.net.eval()
        parts = []
        for part in images.split(self.eval_batch_size):
            with self._autocast():
                features = self.parts.encoder(self.views.plain(part).contiguous(memory_format=torch.channels_last))
            parts.append(functional.normalize(features.float(), dim=1))
        self.net.train(training)
        return torch.cat(parts)

    def load_parts(self, weights: Mapping[str, Tensor], *names: str) -> None:
        """Take the weights of the named parts (`encoder`, `projector`) from tensors called `<part>.<name>`."""
        for name in names:
            own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
            getattr(self.parts, name).load_state_dict(own)
