"""DivideMix: two networks divide the data for each other and learn from both parts (Li et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Mean, Split, Tick, with_prefix, without_prefix
from nlkit.methods.mixmatch import Views2, mixmatch
from nlkit.params import Params
from nlkit.params.dividemix import DivisionParams
from nlkit.parts import semi
from nlkit.parts.balance import epoch_subset
from nlkit.parts.learner import Learner, endless_batches, shuffled_batches
from nlkit.parts.mixture import fit_mixture, normalise
from nlkit.seeding import numpy_stream, torch_stream


class DivideMix:
    """Algorithm 1 of the paper, in the order and with the batch-norm modes of the official CIFAR code."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, DivisionParams)
        self.data, self.params, self.method = data, params, params.method
        self.clip: float | None = None
        self.nets = (self.learner("net1"), self.learner("net2"))
        self.device = data.images.device
        self.p_clean = torch.full((2, len(data)), 0.5, device=self.device)
        self.epoch = 0
        looked_at = len(self._subset("subset", 0))
        self.history = torch.zeros(2, 0, looked_at, dtype=torch.float64, device=self.device)
        self.events: list[str] = []

    def learner(self, name: str) -> Learner:
        """One of the two networks, before its first step."""
        return Learner(self.data, self.params, name)

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """Warm up, or train each network in turn on its peer's division of the data.

        Both divisions were computed before this epoch; the second network already guesses with the
        updated first one (Gauss-Seidel order).
        """
        self.epoch = epoch + 1
        if epoch < self.method.warm_up:
            self.history = self.history[:, :0]
        means = {}
        for k, net in enumerate(self.nets):
            net.set_lr(self.params.optim, epoch)
            if epoch < self.method.warm_up:
                mean = self._warm_up(k, epoch, tick)
            else:
                mean = self._train_network(k, self.p_clean[1 - k], epoch, tick)
            means.update({f"{name}_{k + 1}": value for name, value in mean.items()})
        return means

    def _warm_up(self, k: int, epoch: int, tick: Tick) -> dict[str, float]:
        """Cross-entropy on all observed labels, in batches of 2B, with the confidence penalty if asked."""
        net = self.nets[k]
        net.net.train()
        stream = torch_stream(self.device, self.params.seed, "warm_up", k, epoch)
        chosen = self._subset("warm_up_subset", k, 2)
        size = 2 * self.params.training.batch_size
        mean = Mean()
        for batch in shuffled_batches(chosen, size, stream):
            logits = net(net.views.weak(self.data.images[batch], stream))
            loss = functional.cross_entropy(logits, self.data.labels[batch])
            if self.method.penalty:
                loss = loss + semi.negative_entropy(logits)
            net.step(loss, self.clip)
            mean.add(loss=loss)
            tick(len(batch) / (2 * len(chosen)))
        return mean.result()

    def _subset(self, purpose: str, k: int, times: int = 1) -> Tensor:
        """Indices of the images that network k looks at in this epoch: all, or a class-balanced subset of them."""
        stream = torch_stream(self.device, self.params.seed, purpose, k, self.epoch)
        count = None if self.method.balanced is None else times * self.method.balanced
        return epoch_subset(self.data.labels, count, self.data.classes, stream)

    def _train_network(self, k: int, w: Tensor, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over the labelled set X of the peer's division; unlabelled batches as they are needed."""
        net, peer = self.nets[k], self.nets[1 - k]
        net.net.train()
        peer.net.eval()
        stream = torch_stream(self.device, self.params.seed, "semi", k, epoch)
        beta = numpy_stream(self.params.seed, "mixup", k, epoch)
        labelled, unlabelled = self._divide(w, k, epoch)
        size = self.params.training.batch_size
        unlabelled_batches = endless_batches(unlabelled, size, stream)
        official_steps = len(labelled) // size + 1
        mean = Mean()
        for step, x in enumerate(shuffled_batches(labelled, size, stream)):
            u = next(unlabelled_batches)
            share = beta.beta(self.method.alpha, self.method.alpha)
            now = epoch + step / official_steps
            losses = self.losses(net, peer, x, u, w[x], max(share, 1 - share), now, stream)
            net.step(self.total(losses))
            mean.add(**losses)
            tick(len(x) / (2 * len(labelled)))
        sizes = {"labelled": float(len(labelled)), "unlabelled": float(len(unlabelled))}
        return mean.result() | sizes

    def losses(
        self,
        net: Learner,
        peer: Learner,
        x: Tensor,
        u: Tensor,
        w: Tensor,
        share: float,
        now: float,
        stream: torch.Generator,
    ) -> dict[str, Tensor | float]:
        """L_x, L_u, L_reg and the weight of L_u for labelled indices x, unlabelled u and P(clean) w of x."""
        x_views, u_views = self.two_views(net, x, stream), self.two_views(net, u, stream)
        guess, refined = self.targets(net, peer, x_views, u_views, self.data.labels[x], w)
        losses = mixmatch(net, x_views, u_views, refined, guess, share, stream, self.method.mixed)
        return losses | {"lambda_u": self.lambda_u(now)}

    def lambda_u(self, now: float) -> float:
        """The weight of L_u at a time in epochs, with fractions."""
        return self.method.lambda_u * semi.ramp(now, self.method.warm_up, self.method.ramp_epochs)

    def total(self, losses: dict[str, Tensor | float]) -> Tensor:
        """L = L_x + lambda_u(t) L_u + lambda_r L_reg."""
        total = losses["loss_x"] + losses["lambda_u"] * losses["loss_u"] + self.method.lambda_r * losses["loss_reg"]
        assert isinstance(total, Tensor)
        return total

    def two_views(self, net: Learner, index: Tensor, stream: torch.Generator) -> Views2:
        """Two weak views of the images with these indices."""
        images = self.data.images[index]
        return Views2(net.views.weak(images, stream), net.views.weak(images, stream))

    @torch.no_grad()
    def targets(
        self, net: Learner, peer: Learner, x: Views2, u: Views2, labels: Tensor, w: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Co-guessed targets [B_u, C] by both networks, co-refined targets [B_x, C] by the trained one.

        In the trained network, with `bn: paper` batch norm sees u1, u2, x1 and x2 as four batches, one after
        the other; with `bn: fused` it pools their statistics.
        """
        temperature = self.method.temperature
        one_hot = functional.one_hot(labels, self.data.classes).float()
        views = u.first, u.second, x.first, x.second
        if self.method.bn == "fused":
            own = net(torch.cat(views)).split([len(view) for view in views])
        else:
            own = net.in_parts(views)
        guess = torch.zeros_like(own[0])
        if len(u.first):
            theirs = peer(torch.cat([u.first, u.second])).chunk(2)
            guess = semi.sharpen(semi.mean_probability([own[0], own[1], *theirs]), temperature)
        refined = semi.refine(one_hot, semi.mean_probability(own[2:]), w, temperature)
        return guess, refined

    def _divide(self, w: Tensor, k: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Indices of X = {w > threshold} and of the rest; both keep at least a batch where N allows it.

        Images that the peer did not look at have no w and are in neither.
        """
        known = torch.isfinite(w).nonzero()[:, 0]
        w = w[known]
        clean = w > self.method.threshold
        least = min(self.params.training.batch_size, len(w) // 2)
        if int(clean.sum()) < least or int((~clean).sum()) < least:
            order = w.argsort(descending=True, stable=True)
            count = min(max(int(clean.sum()), least), len(w) - least)
            self._note(epoch, f"network {k + 1} got {int(clean.sum())} labelled of {len(w)}; {count} taken instead")
            clean = torch.zeros_like(clean)
            clean[order[:count]] = True
        return known[clean], known[~clean]

    def split(self) -> Split:
        """Losses and P(clean) of both networks, each by its own mixture; the next epoch exchanges them.

        P(clean) is fitted to the mean of the last `loss_epochs` normalised losses since the end of the
        warm-up. Where losses are constant or not finite the previous P(clean) stays. With class-balanced subsets
        images outside the network's own one have NaN for both.
        """
        chosen = [self._subset("subset", k) for k in (0, 1)]
        found = [net.losses(self.data, index) for net, index in zip(self.nets, chosen, strict=True)]
        losses = self._spread(found, chosen)
        scaled = [normalise(one) for one in found]
        if any(one is None for one in scaled):
            self._note(None, "losses cannot be separated; the previous division stays")
            return Split(losses, self.p_clean.clone(), (None, None), self.method.threshold)
        newest = torch.stack([one for one in scaled if one is not None])[:, None]
        self.history = torch.cat([self.history, newest], dim=1)[:, -self.method.loss_epochs :]
        inputs = self.history.mean(dim=1)
        mixtures = [fit_mixture(z, self.method.mixture) for z in inputs]
        self.p_clean = self._spread([one.p_clean(z).float() for one, z in zip(mixtures, inputs, strict=True)], chosen)
        return Split(losses, self.p_clean.clone(), tuple(mixtures), self.method.threshold)

    def _spread(self, values: Sequence[Tensor], chosen: Sequence[Tensor]) -> Tensor:
        """Values of each network's images, put to their places among all: [2, N], NaN elsewhere."""
        spread = torch.full((2, len(self.data)), torch.nan, device=self.device)
        for row, index, value in zip(spread, chosen, values, strict=True):
            row[index] = value
        return spread

    def _note(self, epoch: int | None, text: str) -> None:
        self.events.append(text if epoch is None else f"epoch {epoch + 1}: {text}")

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Summed logits [N, C], and those [2, N, C] of each network."""
        logits = torch.stack([net.predict(images) for net in self.nets])
        return logits.sum(dim=0), logits

    def state_dict(self) -> dict[str, Tensor]:
        """Both networks, P(clean) [2, N] and the history of normalised losses [2, <= loss_epochs, N]."""
        state = {"p_clean": self.p_clean, "history": self.history}
        for k, net in enumerate(self.nets):
            state |= with_prefix(f"net{k + 1}", net.tensors())
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.p_clean = state["p_clean"].clone()
        self.history = state["history"].clone()
        for k, net in enumerate(self.nets):
            net.load_tensors(without_prefix(f"net{k + 1}", state))
