"""The second stage of TCL: corrected labels, a follower one step behind, and bootstrapping."""

from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from torch.nn import functional

from nlkit import lazy
from nlkit.methods.tcl_plus import SecondStage, TCLPlus, correct


def begun(**overrides: Any) -> tuple[TCLPlus, SecondStage]:
    """TCL+ whose last epoch was the first of the second stage, and that stage."""
    method = tiny.method("tcl_plus", 64, **overrides)
    tiny.train(method, 0, 1, 2, split=True)
    return method, method.second


def test_a_label_is_replaced_only_where_the_posterior_is_above_one_half() -> None:
    gamma = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.7, 0.3], [0.45, 0.55]])
    assert correct(gamma, torch.tensor([0, 1, 0, 0])).tolist() == [1, 1, 0, 1]
    flat = torch.tensor([0.5, 0.3, 0.2]).repeat(7, 1)
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 2])
    assert torch.equal(correct(flat, labels), labels)


def test_the_second_stage_starts_from_the_first_and_leaves_it_alone() -> None:
    method, _ = begun()
    first = tiny.copied(method.first.state_dict())
    fresh = SecondStage(method.params, method.first, method.data.labels)
    for one in (fresh.learner, fresh.follower):
        assert tiny.same(one.net.state_dict(), method.first.learner.net.state_dict())
    tiny.train(method, 3, split=True)
    assert tiny.same(method.first.state_dict(), first)


def test_corrected_labels_stay_for_the_whole_stage_and_the_projector_is_not_trained() -> None:
    method, stage = begun(**{"method.first.temperature": 0.05})
    labels = stage.labels.clone()
    tiny.train(method, 3)
    assert method.second is stage and torch.equal(stage.labels, labels) and not torch.equal(labels, method.data.labels)
    old, new = (dict(one.net.named_parameters()) for one in (method.first.learner, stage.learner))
    assert all(torch.equal(old[name], new[name]) == name.startswith("projector") for name in old)


def test_the_follower_has_the_weights_before_the_step_and_statistics_of_its_own() -> None:
    _, stage = begun()
    before = tiny.copied(dict(stage.learner.net.named_parameters()))
    stage.learner.net.train()
    stage.learner.step(stage.losses(torch.arange(16), tiny.stream())["loss"])
    assert tiny.same(before, dict(stage.follower.net.named_parameters()))
    assert not tiny.same(before, dict(stage.learner.net.named_parameters()))
    statistics = [dict(one.net.named_buffers()) for one in (stage.learner, stage.follower)]
    means = [name for name in statistics[0] if name.endswith("running_mean") and not name.startswith("projector")]
    assert means and all(not torch.equal(statistics[0][name], statistics[1][name]) for name in means)


@pytest.mark.parametrize("bootstrapping", [False, True])
def test_the_loss_is_that_of_the_script(bootstrapping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stage = begun(**{"method.first.dropout": 0.0, **tiny.PLAIN})
    images = stage.learner.views.plain(stage.data.images[:16])
    order, guess = torch.randperm(16, generator=tiny.stream(5)), torch.arange(16) % 3
    monkeypatch.setattr(lazy.torch, "randperm", lambda *args, **kwargs: order)
    monkeypatch.setattr(stage, "_follow", lambda views: guess)
    stage.beta = SimpleNamespace(beta=lambda a, b: 0.2)  # type: ignore[assignment]
    stage.bootstrapping = bootstrapping
    stage.learner.net.train()
    loss, share = stage.losses(torch.arange(16), tiny.stream())["loss"], 0.8
    logits = stage.learner(share * images + (1 - share) * images[order])
    expected = torch.zeros(())
    trust = 0.8 if bootstrapping else 1.0
    for part, index in ((share, torch.arange(16)), (1 - share, order)):
        for weight, labels in ((trust, stage.labels[:16][index]), (1 - trust, guess[index])):
            expected = expected + part * weight * functional.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, expected)


def test_the_learning_rate_of_the_second_stage_is_constant_and_bootstrapping_begins_later() -> None:
    method, stage = begun(**{"method.lr": 0.03})
    seen = []
    for epoch in (2, 3):
        tiny.train(method, epoch)
        seen.append(([group["lr"] for group in stage.learner.optimiser.param_groups], stage.bootstrapping))
    assert seen == [([0.03], False), ([0.03], True)]
