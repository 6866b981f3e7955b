"""Learners whose networks have heads beside the classifier: TCL's two heads, and a projector for contrast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nlkit.lazy import functional, no_grad, torch
from nlkit.parts.learner import Learner

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nlkit.data.photos.stored import Images
    from nlkit.models.heads import ContrastiveNet, TwinNet


class TwinLearner(Learner):
    """A learner of a TwinNet; projections leave it with length one and in float32."""

    net: TwinNet

    def add_heads(self, body: nn.Module, method: Any, classes: int) -> nn.Module:
        """Classifier and projection of TCL; the method's section has `hidden`, `dim` and `dropout`."""
        from nlkit.models.heads import TwinNet

        return TwinNet(body, classes, method.hidden, method.dim, method.dropout)

    def both(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Unit projections v [B, D] and logits [B, C] of normalised inputs, in the network's current mode."""
        with self.autocast():
            projections, logits = self.net.both(inputs.contiguous(memory_format=torch.channels_last))
        return functional.normalize(projections.float(), dim=1), logits.float()

    @no_grad
    def embed(self, images: Images) -> tuple[Tensor, Tensor]:
        """Unit projections [N, D] and logits [N, C] of plain images uint8 [N, H, W, C], in evaluation mode."""
        with self.evaluating():
            parts = [self.both(self.views.plain(part)) for part in images.split(self.eval_batch_size)]
        projections, logits = zip(*parts, strict=True)
        return torch.cat(projections), torch.cat(logits)


class ContrastiveLearner(Learner):
    """A learner of a ContrastiveNet; embeddings and features leave it with length one and in float32."""

    net: ContrastiveNet

    def add_heads(self, body: nn.Module, method: Any, classes: int) -> nn.Module:
        """The model's own classifier, and a projector; the method's section has `dim` and `hidden`."""
        from nlkit.models.heads import ContrastiveNet

        return ContrastiveNet(body, method.dim, method.hidden)

    def embed(self, inputs: Tensor) -> Tensor:
        """Unit embeddings z [B, dim] of normalised inputs [B, channels, H, W], in the network's current mode."""
        with self.autocast():
            z = self.net.project(inputs.contiguous(memory_format=torch.channels_last))
        return functional.normalize(z.float(), dim=1)

    @no_grad
    def features(self, images: Images) -> Tensor:
        """Unit features [N, D] of plain images uint8 [N, H, W, C], in evaluation mode and in order."""
        with self.evaluating():
            return torch.cat([self._features(part) for part in images.split(self.eval_batch_size)])

    def _features(self, part: Any) -> Tensor:
        with self.autocast():
            features = self.net.encoder(self.views.plain(part).contiguous(memory_format=torch.channels_last))
        return functional.normalize(features.float(), dim=1)

    def load_parts(self, weights: Mapping[str, Tensor], *names: str) -> None:
        """Take the weights of the named parts (`encoder`, `projector`) from tensors called `<part>.<name>`."""
        for name in names:
            own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
            getattr(self.net, name).load_state_dict(own)
