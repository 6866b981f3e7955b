"""DivideMix the way it is usually written: PIL transforms, a DataLoader with workers, fp32, a mixture on the CPU.

It stands for common practice and is not meant to be fast. It does the work of `nlkit.methods.DivideMix`:
the same networks, images, batches, passes and losses, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nlkit.data.problem import TrainingSet
from nlkit.methods.dividemix import DivideMixParams
from nlkit.models import build_model
from nlkit.params import Params

WORKERS = 2
M = 2


class Views(Dataset[tuple[Any, ...]]):
    """Some images of a training set with `count` views of each, its label, a weight and its index."""

    def __init__(self, data: TrainingSet, index: np.ndarray, weights: np.ndarray, count: int) -> None:
        assert isinstance(data.images, torch.Tensor)
        self.images, self.labels = data.images.cpu().numpy(), data.labels.cpu().numpy()
        self.index, self.weights, self.count = index, weights, count
        finish = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(augment + finish if count > 1 else finish)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> tuple[Any, ...]:
        index = int(self.index[position])
        image = Image.fromarray(self.images[index])
        views = tuple(self.transform(image) for _ in range(self.count))
        return *views, int(self.labels[index]), float(self.weights[index]), index


class ReferenceDivideMix:
    """Two networks, one epoch of semi-supervised training, and the division of the data."""

    def __init__(self, data: TrainingSet, params: Params) -> None:
        assert isinstance(params.method, DivideMixParams)
        self.data, self.params, self.method = data, params, params.method
        self.device = data.images.device
        channels = data.images.shape[3]
        self.nets = [build_model(params.model, channels, data.classes, seed).to(self.device) for seed in (1, 2)]
        optim = params.optim
        self.optimisers = [
            torch.optim.SGD(net.parameters(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
            for net in self.nets
        ]
        self.p_clean = np.full((2, len(data)), 0.5)

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train each network on its peer's division; sizes and the last losses by name."""
        found: dict[str, float] = {}
        for k in (0, 1):
            means = self._train_network(k, self.p_clean[1 - k], epoch)
            found |= {f"{name}_{k + 1}": value for name, value in means.items()}
        return found

    def split(self) -> None:
        """Losses of all images by both networks, copied one by one, and a mixture for each."""
        for k in (0, 1):
            losses = self._losses(self.nets[k])
            losses = (losses - losses.min()) / (losses.max() - losses.min())
            mixture = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4)
            values = losses.reshape(-1, 1).numpy()
            mixture.fit(values)
            self.p_clean[k] = mixture.predict_proba(values)[:, mixture.means_.argmin()]

    def _train_network(self, k: int, weights: np.ndarray, epoch: int) -> dict[str, float]:
        net, peer = self.nets[k], self.nets[1 - k]
        net.train()
        peer.eval()
        clean = weights > self.method.threshold
        labelled, unlabelled = clean.nonzero()[0], (~clean).nonzero()[0]
        batches = self._loader(labelled, weights, M, shuffle=True)
        others = endless(self._loader(unlabelled, weights, M, shuffle=True))
        steps, seen = len(batches), 0
        for step, (x1, x2, labels, w, _) in enumerate(batches):
            u1, u2, *_ = next(others)
            x1, x2, u1, u2, labels = (part.to(self.device) for part in (x1, x2, u1, u2, labels))
            now = epoch + step / steps
            loss_x, loss_u = self._step(k, net, peer, (x1, x2, u1, u2), labels, w.float().to(self.device), now)
            seen += 2 * len(x1) + 2 * len(u1)
        return {"labelled": len(labelled), "unlabelled": len(unlabelled), "seen": seen, "loss": loss_x + loss_u}

    def _step(
        self, k: int, net: nn.Module, peer: nn.Module, views: tuple[Tensor, ...], labels: Tensor, w: Tensor, now: float
    ) -> tuple[float, float]:
        x1, x2, u1, u2 = views
        guess, refined = self._targets(net, peer, views, labels, w)
        share = np.random.beta(self.method.alpha, self.method.alpha)
        share = max(share, 1 - share)
        inputs, targets = torch.cat([x1, x2, u1, u2]), torch.cat([refined, refined, guess, guess])
        order = torch.randperm(len(inputs))
        mixed = share * inputs + (1 - share) * inputs[order]
        mixed_targets = share * targets + (1 - share) * targets[order]
        logits = net(mixed)
        rows = 2 * len(x1)
        loss_x = -(functional.log_softmax(logits[:rows], dim=1) * mixed_targets[:rows]).sum(dim=1).mean()
        loss_u = ((logits[rows:].softmax(dim=1) - mixed_targets[rows:]) ** 2).mean()
        prior = torch.full((self.data.classes,), 1 / self.data.classes, device=self.device)
        penalty = (prior * (prior / logits.softmax(dim=1).mean(dim=0)).log()).sum()
        ramp = float(np.clip((now - self.method.warm_up) / self.method.ramp_epochs, 0, 1))
        loss = loss_x + self.method.lambda_u * ramp * loss_u + self.method.lambda_r * penalty
        self.optimisers[k].zero_grad()
        loss.backward()
        self.optimisers[k].step()
        return loss_x.item(), loss_u.item()

    @torch.no_grad()
    def _targets(
        self, net: nn.Module, peer: nn.Module, views: tuple[Tensor, ...], labels: Tensor, w: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Guessed targets of u1, u2 and refined targets of x1, x2, by a pass of its own for each."""
        x1, x2, u1, u2 = views
        guesses = [one(view).softmax(dim=1) for one in (net, peer) for view in (u1, u2)]
        refinements = [net(view).softmax(dim=1) for view in (x1, x2)]
        one_hot = torch.zeros(len(labels), self.data.classes, device=self.device).scatter_(1, labels.view(-1, 1), 1)
        refined = w.view(-1, 1) * one_hot + (1 - w.view(-1, 1)) * sum(refinements) / len(refinements)
        return self._sharpen(torch.stack(guesses).mean(dim=0)), self._sharpen(refined)

    def _sharpen(self, p: Tensor) -> Tensor:
        powered = p ** (1 / self.method.temperature)
        return powered / powered.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def _losses(self, net: nn.Module) -> Tensor:
        net.eval()
        losses = torch.zeros(len(self.data))
        everything = np.arange(len(self.data))
        for images, labels, _, index in self._loader(everything, np.ones(len(self.data)), 1, shuffle=False):
            outputs = net(images.to(self.device))
            loss = functional.cross_entropy(outputs, labels.to(self.device), reduction="none")
            for position in range(len(index)):
                losses[index[position]] = loss[position]
        return losses

    def _loader(self, index: np.ndarray, weights: np.ndarray, count: int, shuffle: bool) -> DataLoader[Any]:
        views = Views(self.data, index, weights, count)
        return DataLoader(views, self.params.training.batch_size, shuffle=shuffle, num_workers=WORKERS)


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Batches of a loader, which is started again whenever it ends."""
    while True:
        yield from loader
