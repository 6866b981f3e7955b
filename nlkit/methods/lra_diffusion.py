"""LRA-diffusion: neighbours' labels are retrieved, and a diffusion model learns to denoise them (Chen et al., 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Images
from nlkit.data.problem import TrainingSet
from nlkit.errors import NlkitError
from nlkit.methods.base import Mean, Split, Tick
from nlkit.params import Params
from nlkit.params.lra import LRADiffusionParams
from nlkit.parts.balance import epoch_subset
from nlkit.parts.diffusion import add_noise, antithetic_times, closeness
from nlkit.parts.diffusion_learner import DiffusionLearner
from nlkit.parts.frozen import FrozenEncoder, frozen_encoder
from nlkit.parts.learner import shuffled_batches
from nlkit.parts.mixture import Mixture, fit_mixture, normalise
from nlkit.parts.retrieval import count_votes, draw_labels, nearest, retrieve, vote_logits, vote_weights, without_own
from nlkit.parts.schedules import warm_cosine
from nlkit.seeding import torch_stream

TEMPERATURE = 0.1
"""Of the softmax that turns a label vector into a distribution; ours. The official code has 1, under which a one-hot
vector of ten classes has a probability of 0.23 only."""
SHOWN = 16
"""Images whose neighbours and label vectors are recorded for the figures."""
NEIGHBOURS = 6
"""Neighbours of each of these that are recorded."""


class LRADiffusion:
    """A frozen encoder f_p retrieves labels, an encoder e and a noise predictor learn their distribution.

    Its "networks" are three: the one that the result is of, the same with the other weights (averaged or raw), and
    the majority vote of the k nearest neighbours, which needs no training.
    """

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, LRADiffusionParams)
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        if len(data) < 3:
            raise NlkitError(f"the training set has {len(data)} images; lra_diffusion needs three, to have neighbours")
        self.k = min(self.method.k, len(data) - 2)
        self.frozen: FrozenEncoder = frozen_encoder(data, params)
        self.learner = DiffusionLearner(data, params, self.frozen.features)
        self.everything = torch.arange(len(data), device=self.device)
        self.bank = self._bank()
        self.plain = self.bank if self.method.bank == "plain" else self.frozen.images(data.images)
        self.counts = self._counts(self.bank, self.everything) if self.method.query == "cached" else None
        self.epoch = 0
        self.events = [f"{len(data)} images have {self.k} neighbours each at most"] if self.k < self.method.k else []

    def train_epoch(self, epoch: int, tick: Tick) -> dict[str, float]:
        """One pass over all samples in full batches: retrieve, draw y', add noise to it, predict the noise."""
        self.epoch = epoch
        stream = torch_stream(self.device, self.params.seed, "lra_diffusion", epoch)
        batches = self._batches(stream)
        self.learner.net.train()
        mean = Mean()
        for step, batch in enumerate(batches):
            view = self.learner.views.weak(self.data.images[batch], stream)
            z, counts = self._retrieve(batch, view)
            labels, votes = draw_labels(counts, self.method.draws, stream)
            w = vote_weights(votes if self.method.weighted else torch.ones_like(votes))
            loss = self._loss(view, z, labels, w, stream)
            rate = self._rate(epoch + step / len(batches))
            self.learner.step(loss, rate)
            own = (labels == self.data.labels[batch, None]).float().mean()
            mean.add(loss=loss, own_label=own)
            tick(1 / len(batches))
        return mean.result() | {"lr": rate}

    def _batches(self, stream: torch.Generator) -> list[Tensor]:
        """Random batches of equal size; what is left over is dropped, since batch norm needs more than one image."""
        chosen = epoch_subset(self.data.labels, self.method.balanced, self.data.classes, stream)
        batches = list(shuffled_batches(chosen, self.params.training.batch_size, stream))
        return batches if len(batches) == 1 or len(batches[-1]) == len(batches[0]) else batches[:-1]

    def _rate(self, time: float) -> float:
        """The learning rate at a time in epochs: linear warm-up, then a cosine that reaches 0 at the horizon."""
        warm_up = self.method.lr_warm_up
        horizon = self.params.training.epochs if self.method.horizon is None else self.method.horizon
        return warm_cosine(time, self.params.optim.lr, warm_up, horizon - warm_up, 0.0)

    def _bank(self) -> Tensor:
        """f_p [N, d] of the training images: of one random view of each, which then stays, or of the plain images."""
        if self.method.bank == "plain":
            return self.frozen.images(self.data.images)
        stream = torch_stream(self.device, self.params.seed, "bank")
        parts = self.data.images.split(self.params.training.eval_batch_size)
        return torch.cat([self.frozen.views(self.learner.views.weak(part, stream)) for part in parts])

    def _retrieve(self, batch: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, d] and the counts n [B, C] of the candidate labels, for the samples `batch` [B] and their views."""
        if self.counts is not None:
            return self.bank[batch], self.counts[batch]
        z = self.frozen.views(view)
        return z, self._counts(z, batch)

    def _counts(self, z: Tensor, own: Tensor) -> Tensor:
        method = self.method
        index = retrieve(self._metric(self.bank), self._metric(z), own, self.k, method.retrieval, method.exclude_self)
        return count_votes(self.data.labels, index, self.data.classes)

    def _metric(self, z: Tensor) -> Tensor:
        """Features whose Euclidean distances order the neighbours; for the cosine they get length one."""
        return functional.normalize(z, dim=1) if self.method.distance == "cosine" else z

    def _loss(self, view: Tensor, z: Tensor, labels: Tensor, w: Tensor, stream: torch.Generator) -> Tensor:
        """(1/C) sum_i w_i |eps_i - eps(e(x_i), y_t, t, z_i)|^2 for labels and weights [B, draws] of B views.

        All draws of an image share one e(x).
        """
        learner = self.learner
        embedding = learner.embed(learner.net, view).repeat_interleave(self.method.draws, dim=0)
        y = functional.one_hot(labels.flatten(), self.data.classes).float()
        t = antithetic_times(len(y), self.method.timesteps, stream, self.device)
        noise = torch.randn(y.shape, generator=stream, device=self.device)
        noisy = add_noise(y, t, noise, learner.schedule)
        predicted = learner.net.denoiser(embedding, noisy, t, z.repeat_interleave(self.method.draws, dim=0))
        return (w.flatten() * (noise - predicted).square().mean(dim=1)).sum()

    def split(self) -> Split:
        """Cross-entropies of the observed labels under both networks and under the vote, and a mixture over each.

        A network's distribution is softmax(-(y_c - 1)^2 / 0.1) of its label vector; that of the vote leaves the
        image itself out. This division is ours; it steers nothing. Where losses cannot be separated P(clean) is 0.5.
        """
        vectors = [self.learner.sample(net, self.data.images, self.plain) for net in self.learner.nets()]
        logits = [closeness(y, TEMPERATURE) for y in vectors]
        other = float((logits[0].argmax(dim=1) != vectors[0].argmax(dim=1)).double().mean())
        _, index = nearest(self._metric(self.plain), self._metric(self.bank), self.k + 1)
        index = without_own(index, self.everything)
        counts = count_votes(self.data.labels, index, self.data.classes)
        logits.append(vote_logits(counts))
        losses = torch.stack([functional.cross_entropy(one, self.data.labels, reduction="none") for one in logits])
        mixtures = tuple(self._mixture(row) for row in losses)
        p_clean = [torch.full_like(row, 0.5) for row in losses]
        for k, (mixture, row) in enumerate(zip(mixtures, losses, strict=True)):
            if mixture is not None:
                p_clean[k] = mixture.p_clean(normalise(row)).float()  # type: ignore[arg-type]
        share = counts.gather(1, self.data.labels[:, None])[:, 0] / self.k
        row = {"argmax_differs": other} | self._shown(index, counts)
        return Split(losses, torch.stack(p_clean), mixtures, samples={"vote": share}, epoch=row)

    def _mixture(self, losses: Tensor) -> Mixture | None:
        z = normalise(losses)
        return None if z is None else fit_mixture(z, self.method.mixture)

    def _shown(self, index: Tensor, counts: Tensor) -> dict[str, Any]:
        """For the first few images, at the recorded epochs: neighbours, votes, and label vectors [S + 1, ., C]."""
        recorded = {*self.params.training.snapshots, self.params.training.epochs}
        if self.epoch + 1 not in recorded:
            return {"neighbours": None, "votes": None, "label_vectors": None}
        images, z = self.data.images[:SHOWN], self.plain[:SHOWN]
        path = self.learner.trajectory(self.learner.nets()[0], images, z).double()
        return {
            "neighbours": index[:SHOWN, :NEIGHBOURS].flatten().tolist(),
            "votes": counts[:SHOWN].flatten().tolist(),
            "label_vectors": path.flatten().round(decimals=4).tolist(),
        }

    def logits(self, images: Images) -> tuple[Tensor, Tensor]:
        """Logits [N, C] of the chosen weights, and [3, N, C]: of these, of the other weights, and of the vote."""
        z = self.frozen.images(images)
        chosen, other = (closeness(self.learner.sample(net, images, z), TEMPERATURE) for net in self.learner.nets())
        _, index = nearest(self._metric(z), self._metric(self.bank), self.k)
        vote = vote_logits(count_votes(self.data.labels, index, self.data.classes))
        return chosen, torch.stack([chosen, other, vote])

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, their average, and Adam's moments; f_p and its bank never change."""
        return self.learner.tensors()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.learner.load_tensors(state)
