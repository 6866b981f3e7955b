"""mixup and ELR: their losses in closed form, the targets as state, and what they do about wrong labels."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as ce

from nlkit.methods.elr import ELR, early_learning, moved
from nlkit.methods.mixup import Mixup


def recorded(method: Any) -> list[tuple[Tensor, Tensor]]:
    """Inputs and logits of every training pass from now on."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(module: Any, inputs: tuple[Tensor], logits: Tensor) -> None:
        if module.training:
            seen.append((inputs[0].detach().clone(), logits.detach().clone()))

    method.learner.net.register_forward_hook(hook)
    return seen


def shares(method: Mixup, inputs: Tensor) -> list[tuple[float, int, int]]:
    """For each mixed row the images and the share that make it, found by trying all pairs and solving."""
    plain = method.learner.views.plain(method.data.images).flatten(1)
    found = []
    for row in inputs.flatten(1):
        best = (float("inf"), 0.0, 0, 0)
        for j in range(len(plain)):
            direction, rest = plain - plain[j], row - plain[j]
            share = (direction @ rest) / direction.square().sum(dim=1).clamp_min(1e-12)
            error = (plain[j] + share[:, None] * direction - row).abs().amax(dim=1)
            i = int(error.argmin())
            best = min(best, (float(error[i]), float(share[i]), i, j))
        assert best[0] < 1e-4
        found.append(best[1:])
    return found


def test_mixup_trains_on_the_mean_of_two_images_with_the_mean_of_their_labels() -> None:
    data = tiny.problem(count=24).train
    method = Mixup(data, tiny.params("mixup", **tiny.PLAIN, **{"training.batch_size": 24, "method.alpha": 4}))
    seen = recorded(method)
    loss = method.train_epoch(0, lambda share: None)["loss"]
    inputs, logits = seen[0]
    pairs = shares(method, inputs)
    assert any(0.01 < share < 0.99 for share, _, _ in pairs)
    expected = [
        share * ce(row, data.labels[i]) + (1 - share) * ce(row, data.labels[j])
        for row, (share, i, j) in zip(logits, pairs, strict=True)
    ]
    assert loss == pytest.approx(float(torch.stack(expected).mean()), abs=1e-3)


def test_a_batch_of_mixup_has_one_share_and_every_image_is_in_both_places_once() -> None:
    method = Mixup(tiny.problem(count=24).train, tiny.params("mixup", **tiny.PLAIN, **{"training.batch_size": 24}))
    seen = recorded(method)
    method.train_epoch(0, lambda share: None)
    weights, folded = torch.zeros(24), []
    for share, i, j in shares(method, seen[0][0]):
        weights[i] += share
        weights[j] += 1 - share
        folded += [max(share, 1 - share)] if 0.001 < share < 0.999 else []
    torch.testing.assert_close(weights, torch.ones(24), atol=1e-3, rtol=0)
    assert max(folded) - min(folded) < 1e-3


def test_the_penalty_is_nothing_without_targets_and_falls_towards_them() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    assert float(early_learning(p, torch.zeros(2, 3))) == 0
    assert float(early_learning(p, p)) == pytest.approx(
        0.5 * float(torch.log(torch.tensor(1 - 0.54)) + torch.log(torch.tensor(1 - 0.66)))
    )
    sure = torch.tensor([[1.0, 0.0, 0.0]])
    values = [float(early_learning(torch.tensor([[a, 1 - a, 0.0]]), 0.9 * sure)) for a in (0.1, 0.5, 0.9)]
    assert values == sorted(values, reverse=True)


def test_the_gradient_of_the_penalty_is_that_of_the_paper() -> None:
    """For logits z: sum_c of d/dz is zero, and d/dz_c = -p_c (t_c - <p, t>) / (1 - <p, t>) / B."""
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    t = 0.9 * torch.rand(5, 4, dtype=torch.float64).softmax(dim=1)
    p = z.softmax(dim=1)
    early_learning(p, t).backward()
    inner = (p * t).sum(dim=1, keepdim=True)
    torch.testing.assert_close(z.grad, (-p * (t - inner) / (1 - inner) / 5).detach())


def test_targets_are_running_means_of_predictions() -> None:
    p = torch.tensor([[0.6, 0.3, 0.3]])
    t = torch.zeros(1, 3)
    for step in range(1, 30):
        t = moved(t, p, 0.7)
        torch.testing.assert_close(t, (1 - 0.7**step) * p / 1.2)


def test_elr_moves_the_target_of_a_sample_once_an_epoch_before_it_uses_it() -> None:
    data = tiny.problem(count=24).train
    method = ELR(data, tiny.params("elr", **tiny.PLAIN, **{"training.batch_size": 24, "method.weight": 2}))
    seen = recorded(method)
    values = method.train_epoch(0, lambda share: None)
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.3))
    logits = seen[0][1]
    p = logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
    expected = torch.log(1 - (p * 0.3 * p / p.sum(dim=1, keepdim=True)).sum(dim=1)).mean()
    assert values["penalty"] == pytest.approx(float(expected), abs=1e-6)
    method.train_epoch(1, lambda share: None)
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.51))


def test_without_weight_the_targets_steer_nothing() -> None:
    data = tiny.problem(count=40).train
    methods = [
        ELR(data, tiny.params("elr", **{"method.weight": w, "method.beta": b}))
        for w, b in ((0, 0.1), (0, 0.9), (3, 0.9))
    ]
    for method in methods:
        for epoch in range(2):
            method.train_epoch(epoch, lambda share: None)
    same, other, weighted = (method.learner.tensors() for method in methods)
    assert all(torch.equal(same[name], other[name]) for name in same)
    assert not all(torch.equal(same[name], weighted[name]) for name in same)


def test_elr_follows_its_cosine() -> None:
    method = ELR(
        tiny.problem(count=16).train, tiny.params("elr", **{"method.cosine_epochs": 4, "method.lr_floor": 0.01})
    )
    rates = []
    for epoch in range(5):
        method.train_epoch(epoch, lambda share: None)
        rates.append(method.learner.optimiser.param_groups[0]["lr"])
    assert rates[0] == rates[4] == pytest.approx(0.05) and rates[2] == pytest.approx(0.03)
    assert rates[:4] == sorted(rates[:4], reverse=True) and min(rates) > 0.01
