"""Pre-training: what it sees, what it leaves alone, and the vote that judges it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nlkit.data.problem import Problem
from nlkit.methods.simclr import SimCLR
from nlkit.params import Params
from nlkit.parts import contrast
from nlkit.parts.schedules import joined_cosine

Make = Callable[..., SimCLR]


@pytest.fixture
def simclr(tiny_problem: Callable[..., Problem], tiny_params: Callable[..., Params]) -> Make:
    """A function that makes a method on a tiny problem; overrides are dotted keys."""

    def make(count: int = 70, labels: Tensor | None = None, **own: Any) -> SimCLR:
        data = tiny_problem(count=count).train
        return SimCLR(data if labels is None else replace(data, labels=labels), tiny_params("simclr", **own))

    return make


def train(method: SimCLR, *epochs: int) -> list[dict[str, float]]:
    return [method.train_epoch(epoch, lambda share: None) for epoch in epochs]


def test_other_labels_give_the_same_weights_bit_for_bit(simclr: Make) -> None:
    first, second = simclr(), simclr(labels=torch.randint(3, (70,)))
    for method in (first, second):
        train(method, 0)
        method.split()
        train(method, 1)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert not torch.equal(first.split().p_clean, second.split().p_clean)


def test_everything_but_the_classifier_is_trained_and_shared(simclr: Make) -> None:
    method = simclr()
    before = {name: value.clone() for name, value in method.learner.net.state_dict().items()}
    train(method, 0)
    after = method.learner.net.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {"classifier.weight", "classifier.bias"} == before.keys() - method.shared_weights().keys()


def test_a_step_contrasts_two_views_of_a_full_batch_in_one_pass(simclr: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method, passes, losses = simclr(), list[Tensor](), list[tuple[Tensor, Tensor, float]]()
    method.learner.net.encoder.register_forward_hook(lambda module, inputs, output: passes.append(inputs[0]))
    nt_xent = contrast.nt_xent
    monkeypatch.setattr(
        "nlkit.methods.simclr.nt_xent", lambda a, b, tau: losses.append((a, b, tau)) or nt_xent(a, b, tau)
    )
    train(method, 0)
    assert [len(inputs) for inputs in passes] == [32] * 4  # 70 images: the last 6 are left out
    assert all(not torch.equal(*inputs.chunk(2)) for inputs in passes)
    for first, second, tau in losses:
        assert first.shape == second.shape == (16, 8) and tau == 0.5
        torch.testing.assert_close(torch.cat([first, second]).norm(dim=1), torch.ones(32))


def test_the_learning_rate_follows_its_curve(simclr: Make) -> None:
    method, rates = simclr(**{"optim.lr": 0.5, "training.epochs": 9, "method.lr_warm_up": 2}), list[float]()
    method.learner.set_rate = rates.append  # type: ignore[method-assign]
    train(method, *range(9))
    assert rates == pytest.approx([joined_cosine(step / 4, 0.5, 0.01, 2, 9, 0.001) for step in range(36)])


def test_the_first_loss_is_near_that_of_chance_and_falls(simclr: Make) -> None:
    losses = [row["loss"] for row in train(simclr(**{"optim.lr": 0.2, "training.epochs": 12}), *range(12))]
    assert losses[0] == pytest.approx(math.log(31), abs=0.05) and losses[-1] < losses[0] - 0.04


def test_features_tell_classes_apart_without_labels(simclr: Make, tiny_problem: Callable[..., Problem]) -> None:
    images, labels = tiny_problem().tests["test"]
    method = simclr(96)
    train(method, *range(4))
    assert float((method.logits(images)[0].argmax(dim=1) == labels).double().mean()) > 0.8


def test_the_vote_is_that_of_the_nearest_other_images_smoothed_by_one_count_a_class(simclr: Make) -> None:
    method = simclr()
    train(method, 0)
    z, labels = method.learner.features(method.data.images), method.data.labels
    nearest = torch.cdist(z, z).fill_diagonal_(torch.inf).topk(7, largest=False).indices
    votes = torch.nn.functional.one_hot(labels[nearest], 3).sum(dim=1)
    split, mine = method.split(), labels[:, None]
    torch.testing.assert_close(split.p_clean[0], votes.gather(1, mine)[:, 0] / 7)
    torch.testing.assert_close(split.losses[0], -((votes.gather(1, mine)[:, 0] + 1) / 10).log())
    shares = method.logits(method.data.images.flip(1))[0].exp() * 10 - 1
    torch.testing.assert_close(shares, shares.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(shares.sum(dim=1), torch.full((70,), 7.0))


def test_recorded_epochs_have_places_and_neighbours(simclr: Make) -> None:
    method = simclr(**{"training.snapshots": [1]})
    kinds, places = [], [f"map_{axis}" for axis in range(1, 9)]
    for epoch in range(4):
        train(method, epoch)
        split = method.split()
        kinds.append(sorted(split.samples))
        assert len(split.epoch["neighbours"]) == 8 * 6
    assert kinds == [places, [], [], places]
