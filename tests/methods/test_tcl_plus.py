"""The second stage of TCL: corrected labels, a follower one step behind, and bootstrapping."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit import lazy
from nlkit.methods.tcl_plus import TCLPlus, correct
from nlkit.seeding import torch_stream


def begun(**overrides: Any) -> TCLPlus:
    """TCL+ two epochs old, so that its next epoch is the first of the second stage."""
    method = tiny.method("tcl_plus", 64, **overrides)
    tiny.train(method, 0, 1, split=True)
    return method


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def test_a_label_is_replaced_only_where_the_posterior_is_above_one_half() -> None:
    gamma = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.7, 0.3], [0.45, 0.55]])
    assert correct(gamma, torch.tensor([0, 1, 0, 0])).tolist() == [1, 1, 0, 1]
    flat = torch.tensor([0.5, 0.3, 0.2]).repeat(7, 1)
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 2])
    assert torch.equal(correct(flat, labels), labels)


def test_the_second_stage_starts_from_the_first_and_leaves_it_alone() -> None:
    method = begun()
    first = {name: value.clone() for name, value in method.first.state_dict().items()}
    method._begin()
    assert method.learner is not None and method.follower is not None
    for mine, theirs in zip(method.learner.net.parameters(), method.first.learner.net.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    method.train_epoch(2, lambda share: None)
    method.split()
    after = method.first.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in first.items())


def test_corrected_labels_stay_for_the_whole_stage() -> None:
    method = begun(**{"method.first.temperature": 0.05})
    method.train_epoch(2, lambda share: None)
    labels = method.labels.clone()
    method.train_epoch(3, lambda share: None)
    assert torch.equal(method.labels, labels) and not torch.equal(labels, method.data.labels)


def test_the_follower_has_the_weights_before_the_step_and_statistics_of_its_own() -> None:
    method = begun()
    method._begin()
    assert method.learner is not None and method.follower is not None
    stream = torch_stream(method.device, 0)
    before = weights(method.learner.net)
    batch = torch.arange(16)
    method.learner.net.train()
    method.learner.step(method._loss(batch, 0.7, True, stream))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(method.follower.net), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(method.learner.net), strict=True))
    statistics = [dict(one.net.named_buffers()) for one in (method.learner, method.follower)]
    means = [name for name in statistics[0] if name.endswith("running_mean") and not name.startswith("projector")]
    assert means and all(not torch.equal(statistics[0][name], statistics[1][name]) for name in means)


def test_the_projector_is_not_trained() -> None:
    method = begun()
    method.train_epoch(2, lambda share: None)
    assert method.learner is not None
    old, new = (dict(one.net.named_parameters()) for one in (method.first.learner, method.learner))
    assert all(torch.equal(old[name], new[name]) == name.startswith("projector") for name in old)


@pytest.mark.parametrize("bootstrapping", [False, True])
def test_the_loss_is_that_of_the_script(bootstrapping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    method = begun(**{"method.first.dropout": 0.0, "views.pad": 0, "views.flip": False})
    method._begin()
    assert method.learner is not None
    batch, share = torch.arange(16), 0.8
    images = method.learner.views.plain(method.data.images[batch])
    order = torch.randperm(16, generator=torch_stream(method.device, 5))
    monkeypatch.setattr(lazy.torch, "randperm", lambda *args, **kwargs: order)
    guess = torch.arange(16) % 3
    monkeypatch.setattr(method, "_follow", lambda views: guess)
    method.learner.net.train()
    loss = method._loss(batch, share, bootstrapping, torch_stream(method.device, 0))
    logits = method.learner(share * images + (1 - share) * images[order])
    expected = torch.zeros(())
    trust = 0.8 if bootstrapping else 1.0
    for part, index in ((share, torch.arange(16)), (1 - share, order)):
        for weight, labels in ((trust, method.labels[batch][index]), (1 - trust, guess[index])):
            expected = expected + part * weight * functional.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, expected)


def test_the_learning_rate_of_the_second_stage_is_constant() -> None:
    method = begun(**{"method.lr": 0.03})
    rates = []
    for epoch in (2, 3):
        method.train_epoch(epoch, lambda share: None)
        assert method.learner is not None
        rates += [group["lr"] for group in method.learner.optimiser.param_groups]
    assert rates == [0.03, 0.03]
