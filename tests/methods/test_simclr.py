"""Pre-training: what it sees, what it leaves alone, and the vote that judges it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from nlkit.methods import simclr as simclr_module
from nlkit.methods.simclr import SimCLR


def simclr(count: int = 70, labels: Tensor | None = None, **own: Any) -> SimCLR:
    data = tiny.problem(count=count).train
    return tiny.method("simclr", data if labels is None else replace(data, labels=labels), **own)


def test_other_labels_give_the_same_weights_bit_for_bit() -> None:
    first, second = simclr(), simclr(labels=torch.randint(3, (70,)))
    for method in (first, second):
        tiny.train(method, 0, 1, split=True)
    assert tiny.same(first.state_dict(), second.state_dict())
    assert not torch.equal(first.split().p_clean, second.split().p_clean)


def test_everything_but_the_classifier_is_trained_and_shared() -> None:
    method = simclr()
    before = tiny.copied(method.learner.net.state_dict())
    tiny.train(method, 0)
    after = method.learner.net.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {"classifier.weight", "classifier.bias"} == before.keys() - method.shared_weights().keys()


def test_a_step_contrasts_two_views_of_a_full_batch_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    method, passes = simclr(), list[Tensor]()
    method.learner.net.encoder.register_forward_hook(lambda module, inputs, output: passes.append(inputs[0]))
    losses = tiny.spied(monkeypatch, simclr_module, "nt_xent")
    tiny.train(method, 0)
    assert [len(inputs) for inputs in passes] == [32] * 4  # 70 images: the last 6 are left out
    assert all(not torch.equal(*inputs.chunk(2)) for inputs in passes)
    for (first, second, tau), _ in losses:
        assert first.shape == second.shape == (16, 8) and tau == 0.5
        torch.testing.assert_close(torch.cat([first, second]).norm(dim=1), torch.ones(32))


def test_the_first_loss_is_near_that_of_chance_and_falls() -> None:
    losses = [row["loss"] for row in tiny.train(simclr(**{"optim.lr": 0.2, "training.epochs": 12}), *range(12))]
    assert losses[0] == pytest.approx(math.log(31), abs=0.05) and losses[-1] < losses[0] - 0.04


def test_the_vote_is_that_of_the_nearest_other_images_smoothed_by_one_count_a_class() -> None:
    method = simclr()
    tiny.train(method, 0)
    z, labels = method.learner.features(method.data.images), method.data.labels
    nearest = torch.cdist(z, z).fill_diagonal_(torch.inf).topk(7, largest=False).indices
    votes = torch.nn.functional.one_hot(labels[nearest], 3).sum(dim=1)
    split, mine = method.split(), labels[:, None]
    torch.testing.assert_close(split.p_clean[0], votes.gather(1, mine)[:, 0] / 7)
    torch.testing.assert_close(split.losses[0], -((votes.gather(1, mine)[:, 0] + 1) / 10).log())
    shares = method.logits(method.data.images.flip(1))[0].exp() * 10 - 1
    torch.testing.assert_close(shares, shares.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(shares.sum(dim=1), torch.full((70,), 7.0))


def test_recorded_epochs_have_places_and_neighbours() -> None:
    method = simclr(**{"training.snapshots": [1]})
    kinds, places = [], [f"map_{axis}" for axis in range(1, 9)]
    for epoch in range(4):
        tiny.train(method, epoch)
        split = method.split()
        kinds.append(sorted(split.samples))
        assert len(split.epoch["neighbours"]) == 8 * 6
    assert kinds == [places, [], [], places]
