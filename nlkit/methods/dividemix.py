"""DivideMix: two networks divide the data for each other and learn from both parts (Li et al., ICLR 2020)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from nlkit.data.problem import TrainingSet
from nlkit.kernels.soft_targets import soft_targets
from nlkit.lazy import DataFrame, Generator, Tensor, functional, no_grad, torch
from nlkit.methods.base import GRADIENT, Method, Split, Tick, train_on
from nlkit.params import Params
from nlkit.params.registry import Look, OwnImages, register
from nlkit.parts import semi
from nlkit.parts.epochs import endless_batches, epoch_subset, learning_rate, shuffled_batches
from nlkit.parts.learner import Learner
from nlkit.parts.mixture import fit_mixture, normalise
from nlkit.parts.semi import DivisionParams, Views2, divided, mixmatch
from nlkit.seeding import numpy_stream, torch_stream


class DivideMixParams(DivisionParams):
    """DivideMix (Li et al., ICLR 2020)."""

    name: Literal["dividemix"]


def passes(params: Params[Any], count: int, epochs: DataFrame) -> float:
    """Two networks. Warm-up: each image once, with gradient. Then for each step of b images of X and u of U:

    own guesses 2u + 2b, the peer's 2u, the mixed batch 2b + 2u with gradient. After each epoch both look at all, or at
    their balanced subsets.
    """
    seen, warm = (min(count, times * (params.method.balanced or count)) for times in (1, 2))
    warm_up = float(2 * GRADIENT * warm * (epochs["epoch"] <= params.method.warm_up).sum())
    steps = sum(2 * x + 4 * u + GRADIENT * 2 * (x + u) for x, u in divided(params, epochs))
    return 2.0 * seen * len(epochs) + warm_up + steps


def for_own_images(epochs: int, side: int, classes: int) -> dict[str, Any]:
    """A short warm-up, and no loss of the unlabelled part, as DivideMix is set for little noise."""
    return {"warm_up": max(1, epochs // 6), "lambda_u": 0.0}


class Batch(NamedTuple):
    """A step: indices x [B] of X and u [B'] of U, P(clean) w [B] of x, and mixup's share."""

    x: Tensor
    u: Tensor
    w: Tensor
    share: float


@register(
    DivideMixParams,
    looks={"": Look("DivideMix", "#0072B2", "o")},
    place=50,
    shown=("warm_up", "penalty", "lambda_u", "threshold", "loss_epochs", "alpha", "temperature", "ramp_epochs"),
    passes=passes,
    own_images=OwnImages(for_own_images),
    tiny={"warm_up": 1, "penalty": True, "ramp_epochs": 2},
)
class DivideMix(Method[DivisionParams]):
    """Algorithm 1 of the paper, in the order and with the batch-norm modes of the official CIFAR code.

    Its state has P(clean) [2, N] and the history of normalised losses [2, <= loss_epochs, N].
    """

    kept = ("p_clean", "history")

    def __init__(self, data: TrainingSet, params: Params[Any]) -> None:
        super().__init__(data, params, networks=2)
        self.p_clean = torch.full((2, len(data)), 0.5, device=self.device)
        looked_at = len(self._subset("subset", 0))
        self.history = torch.zeros(2, 0, looked_at, dtype=torch.float64, device=self.device)

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
            net.set_rate(learning_rate(self.params, epoch + 0.5))  # of its middle
            if epoch < self.method.warm_up:
                mean = self._warm_up(k, epoch, tick)
            else:
                mean = self._train_network(k, self.p_clean[1 - k], epoch, tick)
            means.update({f"{name}_{k + 1}": value for name, value in mean.items()})
        return means

    def _warm_up(self, k: int, epoch: int, tick: Tick) -> dict[str, float]:
        """Cross-entropy on all observed labels, in batches of 2B, with the confidence penalty if asked."""
        net = self.nets[k]
        stream = torch_stream(self.device, self.params.seed, "warm_up", k, epoch)
        chosen = self._subset("warm_up_subset", k, 2)

        def step(number: int, batch: Tensor) -> dict[str, Tensor]:
            logits = net(net.views.weak(self.data.images[batch], stream))
            loss = functional.cross_entropy(logits, self.data.labels[batch])
            if self.method.penalty:
                loss = loss + semi.negative_entropy(logits)
            net.step(loss, self.clip)
            return {"loss": loss}

        return train_on(net, shuffled_batches(chosen, 2 * self.params.training.batch_size, stream), step, tick, 2)

    def _subset(self, purpose: str, k: int, times: int = 1) -> Tensor:
        """Indices of the images that network k looks at in this epoch: all, or a class-balanced subset of them."""
        stream = torch_stream(self.device, self.params.seed, purpose, k, self.epoch)
        count = None if self.method.balanced is None else times * self.method.balanced
        return epoch_subset(self.data.labels, count, self.data.classes, stream)

    def _train_network(self, k: int, w: Tensor, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over the labelled set X of the peer's division; unlabelled batches as they are needed."""
        net, peer = self.nets[k], self.nets[1 - k]
        peer.net.eval()
        stream = torch_stream(self.device, self.params.seed, "semi", k, epoch)
        beta = numpy_stream(self.params.seed, "mixup", k, epoch)
        labelled, unlabelled = self._divide(w, k, epoch)
        size = self.params.training.batch_size
        unlabelled_batches = endless_batches(unlabelled, size, stream)
        official_steps = len(labelled) // size + 1

        def step(number: int, x: Tensor) -> dict[str, Any]:
            u = next(unlabelled_batches)
            batch = Batch(x, u, w[x], semi.mixing_share(beta, self.method.alpha))
            losses: dict[str, Any] = self.losses(net, peer, batch, stream)
            ramp = semi.ramp(epoch + number / official_steps, self.method.warm_up, self.method.ramp_epochs)
            losses["lambda_u"] = self.method.lambda_u * ramp
            net.step(self.total(losses))
            return losses

        means = train_on(net, shuffled_batches(labelled, size, stream), step, tick, networks=2)
        return means | {"labelled": float(len(labelled)), "unlabelled": float(len(unlabelled))}

    def losses(self, net: Learner, peer: Learner, batch: Batch, stream: Generator) -> dict[str, Tensor]:
        """L_x, L_u and L_reg."""
        views = self.two_each(net.views.weak, batch, stream)
        guess, refined = self.targets(net, peer, *views, self.data.labels[batch.x], batch.w)
        return mixmatch(net, *views, refined, guess, batch.share, stream, self.method.mixed)

    def total(self, losses: dict[str, Any]) -> Tensor:
        """L = L_x + lambda_u(t) L_u + lambda_r L_reg."""
        total: Tensor = losses["loss_x"] + losses["lambda_u"] * losses["loss_u"]
        return total + self.method.lambda_r * losses["loss_reg"]

    def two_each(self, view: Callable[..., Tensor], batch: Batch, stream: Generator) -> tuple[Views2, Views2]:
        """Two views of each image of X and of U."""
        x, u = self.data.images[batch.x], self.data.images[batch.u]
        return (view(x, stream), view(x, stream)), (view(u, stream), view(u, stream))

    @no_grad()
    def targets(
        self, net: Learner, peer: Learner, x: Views2, u: Views2, labels: Tensor, w: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Co-guessed targets [B_u, C] by both networks, co-refined targets [B_x, C] by the trained one.

        In the trained network, with `bn: paper` batch norm sees u1, u2, x1 and x2 as four batches, one after
        the other; with `bn: fused` it pools their statistics.
        """
        temperature = self.method.temperature
        views = *u, *x
        if self.method.bn == "fused":
            own = net(torch.cat(views)).split([len(view) for view in views])
        else:
            own = net.in_parts(views)
        guess = torch.zeros_like(own[0])
        if len(u[0]):
            theirs = peer(torch.cat(u)).chunk(2)
            guess = soft_targets([own[0], own[1], *theirs], temperature)
        return guess, soft_targets(own[2:], temperature, labels, w)

    def _divide(self, w: Tensor, k: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Indices of X = {w > threshold} and of the rest of what the peer saw; both get a batch where N allows it."""
        known = torch.isfinite(w).nonzero()[:, 0]
        w = w[known]
        clean = w > self.method.threshold
        least = min(self.params.training.batch_size, len(w) // 2)
        if int(clean.sum()) < least or int((~clean).sum()) < least:
            order = w.argsort(descending=True, stable=True)
            count = min(max(int(clean.sum()), least), len(w) - least)
            found = f"network {k + 1} got {int(clean.sum())} labelled of {len(w)}"
            self.events.append(f"epoch {epoch + 1}: {found}; {count} taken instead")
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
            self.events.append("losses cannot be separated; the previous division stays")
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
