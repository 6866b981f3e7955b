"""CSSL by itself: correct labels of a part of the images, and nothing about noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nlkit.data.problem import Problem
from nlkit.methods import dividemix
from nlkit.methods.cssl import CSSL
from nlkit.params import Params
from nlkit.training.problem import load_problem


@pytest.fixture
def cssl(tiny_problem: Callable[..., Problem], tiny_params: Callable[..., Params]) -> Callable[..., CSSL]:
    """A function that makes a method on a tiny problem with correct labels, of which it may use the first 12."""

    def make(labels: torch.Tensor | None = None, **own: Any) -> CSSL:
        data = tiny_problem(rate=0.0).train
        if labels is not None:
            data.labels[12:] = labels
        return CSSL(data, tiny_params("codim", **own), torch.arange(96) < 12)

    return make


def train(method: CSSL, *epochs: int) -> list[dict[str, float]]:
    return [method.train_epoch(epoch, lambda share: None) for epoch in epochs]


def test_given_labels_are_targets_as_they_are(cssl: Callable[..., CSSL], monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = cssl(), []
    original = method.targets
    monkeypatch.setattr(method, "targets", lambda u, y: seen.append((y, *original(u, y))) or seen[-1][1:])
    train(method, 0)
    for labels, refined, guess in seen:
        assert torch.equal(refined, torch.nn.functional.one_hot(labels, 3).float())
        assert not guess.requires_grad
        torch.testing.assert_close(guess.sum(dim=1), torch.ones(len(guess)))
    assert len(seen) == 6  # 84 images without labels in batches of 16


def test_labels_outside_the_given_part_are_never_read(cssl: Callable[..., CSSL]) -> None:
    one, other = cssl(), cssl(torch.randint(3, (84,)))
    assert train(one, 0, 1) == train(other, 0, 1)
    assert all(torch.equal(value, other.net.tensors()[name]) for name, value in one.net.tensors().items())


def test_no_mixture_is_fitted(cssl: Callable[..., CSSL], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dividemix, "fit_mixture", None)
    train(cssl(), 0, 1)


@pytest.mark.parametrize("variant", ["self", "sup", "sup_pseudo"])
def test_all_losses_of_a_step_are_finite_and_the_shares_add_up(cssl: Callable[..., CSSL], variant: str) -> None:
    method, shares = cssl(**{"method.variant": variant}), list[float]()
    rows = [method.train_epoch(epoch, shares.append) for epoch in (0, 1)]
    assert set(rows[0]) == {"loss_x", "loss_u", "loss_reg", "loss_c"}
    assert all(0 <= value < 20 for row in rows for value in row.values())
    assert sum(shares) == pytest.approx(2)


def test_few_labels_of_digits_are_enough(tiny_params: Callable[..., Params]) -> None:
    """60 of 600 images have labels; ten epochs with one network reach four fifths of the test images."""
    own = {"model.width": 8, "views.flip": False, "views.rotate": 10.0, "views.zoom": 0.1, "optim.lr": 0.05}
    own |= {
        "data.train_size": 600,
        "noise.kind": "none",
        "noise.rate": 0,
        "training.batch_size": 32,
        "method.strong.erase": 0.2,
    }
    params = tiny_params("codim", **own)
    problem = load_problem(params.data, params.noise, Path("unused"), torch.device("cpu"))
    method = CSSL(problem.train, params, torch.arange(600) < 60)
    train(method, *range(10))
    images, labels = problem.tests["test"]
    assert float((method.logits(images)[0].argmax(dim=1) == labels).double().mean()) > 0.8
