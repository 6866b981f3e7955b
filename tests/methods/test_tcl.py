"""One step and one epoch of TCL: which rows go through the network, towards which targets, at which rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.methods.tcl import TCL, make_targets
from nlkit.models import build_network
from nlkit.params import load_params
from nlkit.parts import semi
from nlkit.parts.contrast import nt_xent
from nlkit.parts.diagnosis import diagnose
from nlkit.parts.schedules import warm_cosine

B, C = 7, 3
Make = Callable[..., TCL]


@pytest.fixture
def tcl(tiny_problem: Callable[..., Any], tiny_params: Callable[..., Any]) -> Make:
    """A function that makes a method that has been diagnosed once; settings are dotted keys."""

    def make(count: int = 96, **settings: Any) -> TCL:
        method = TCL(tiny_problem(count=count).train, tiny_params("tcl", **settings))
        method.split()
        return method

    return make


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(seed: int, rows: int = B) -> Tensor:
    return torch.randn(rows, C, generator=stream(seed))


def one_hot() -> Tensor:
    return functional.one_hot(torch.arange(B) % C, C).float()


def targets_of(w: Tensor, scales: tuple[float, float] = (1.0, 1.0), share: float = 0.7) -> Any:
    return make_targets(logits(1), logits(2), one_hot(), w, scales, share, torch.randperm(3 * B, generator=stream(9)))


def losses_of(method: TCL, epoch: int = 1, share: float = 0.8, batch: int = 16) -> dict[str, Tensor]:
    assert method.diagnosis is not None
    return method._losses(torch.arange(batch), method.diagnosis, 0.6, share, epoch, stream())


def test_targets_are_distributions() -> None:
    found = targets_of(torch.rand(B, generator=stream()), (0.7, 0.9))
    for rows in (found.first, found.second, found.mixed):
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(len(rows)))
        assert bool((rows >= 0).all())


def test_a_label_that_is_not_trusted_is_replaced_by_the_other_views_prediction() -> None:
    found = targets_of(torch.zeros(B))
    torch.testing.assert_close(found.first, logits(2).softmax(dim=1))
    torch.testing.assert_close(found.second, logits(1).softmax(dim=1))


def test_a_label_that_is_trusted_stays() -> None:
    found = targets_of(torch.ones(B))
    assert torch.equal(found.first, one_hot()) and torch.equal(found.second, one_hot())
    order = torch.randperm(3 * B, generator=stream(9))
    torch.testing.assert_close(found.mixed, 0.7 * one_hot().repeat(3, 1) + 0.3 * one_hot().repeat(3, 1)[order])


def test_each_scale_weakens_the_trust_of_its_own_targets() -> None:
    w = torch.rand(B, generator=stream())
    full, first, second = targets_of(w), targets_of(w, (0.5, 1.0)), targets_of(w, (1.0, 0.5))
    assert torch.equal(first.mixed, full.mixed) and torch.equal(second.first, full.first)
    halved = (1 - 0.5 * w[:, None]) * logits(2).softmax(dim=1) + 0.5 * w[:, None] * one_hot()
    torch.testing.assert_close(first.first, halved)
    assert not torch.equal(second.mixed, full.mixed)


def test_a_share_of_one_mixes_nothing() -> None:
    w = torch.rand(B, generator=stream())
    mean = (logits(1).softmax(dim=1) + logits(2).softmax(dim=1)) / 2
    expected = (1 - w[:, None]) * mean + w[:, None] * one_hot()
    torch.testing.assert_close(targets_of(w, share=1.0).mixed, expected.repeat(3, 1))
    rows = torch.rand(3 * B, 2, generator=stream())
    assert torch.equal(semi.mix(rows, 1.0, torch.randperm(3 * B)), rows)


def test_swapped_views_swap_their_targets() -> None:
    w, order = torch.rand(B, generator=stream()), torch.arange(3 * B)
    one = make_targets(logits(1), logits(2), one_hot(), w, (0.8, 0.9), 1.0, order)
    two = make_targets(logits(2), logits(1), one_hot(), w, (0.8, 0.9), 1.0, order)
    assert torch.equal(one.first, two.second) and torch.equal(one.second, two.first)
    assert torch.equal(one.mixed, two.mixed)


@pytest.mark.parametrize("epoch", [0, 1])
def test_swapped_views_leave_every_loss_unchanged(tcl: Make, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = tcl()
    method.learner.net.eval()  # batch norm fixed, no dropout
    views = [method.strong(method.data.images[:16], stream(seed)) for seed in (1, 2)]
    results = []
    for pair in (views, views[::-1]):
        waiting = list(pair)
        monkeypatch.setattr(method, "strong", lambda images, stream, waiting=waiting: waiting.pop(0))
        results.append(losses_of(method, epoch, share=1.0))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], atol=1e-5, rtol=0, msg=name)


def test_gradients_flow_through_predictions_only() -> None:
    first, second = logits(1).requires_grad_(), logits(2).requires_grad_()
    w = torch.rand(B, generator=stream())
    found = make_targets(first, second, one_hot(), w, (0.8, 0.8), 0.7, torch.arange(3 * B))
    assert not any(rows.requires_grad for rows in (found.first, found.second, found.mixed))
    loss = semi.soft_cross_entropy(first, found.first) + semi.soft_cross_entropy(second, found.second)
    loss.backward()
    for rows, target in ((first, found.first), (second, found.second)):
        torch.testing.assert_close(rows.grad, (rows.detach().softmax(dim=1) - target) / B)


def test_no_gradient_reaches_prototypes_or_weights(tcl: Make) -> None:
    method = tcl()
    assert method.diagnosis is not None
    assert not method.diagnosis.prototypes.requires_grad and not method.diagnosis.w.requires_grad
    method._total(losses_of(method)).backward()
    assert all(weight.grad is not None for weight in method.learner.net.parameters())


def test_the_losses_are_those_of_the_equations(tcl: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = tcl(), []
    forward = method._forward
    monkeypatch.setattr(method, "_forward", lambda *views: seen.append((views, forward(*views))) or seen[0][1])
    size, share = 16, 0.8
    losses = losses_of(method, share=share, batch=size)
    (weak, mixed, first, second), out = seen[0]
    stacked = torch.cat([weak, first, second])
    generator = stream()
    method.learner.views.weak(method.data.images[:size], generator)
    for _ in range(2):
        method.strong(method.data.images[:size], generator)
    order = torch.randperm(3 * size, generator=generator)
    torch.testing.assert_close(mixed, share * stacked + (1 - share) * stacked[order])
    assert method.diagnosis is not None
    mu, w = method.diagnosis.prototypes, 0.6 * method.diagnosis.w[:size, None]
    y = functional.one_hot(method.data.labels[:size], C).float()
    p1, p2 = (rows.detach().softmax(dim=1) for rows in (out.first, out.second))
    base = ((1 - w) * (p1 + p2) / 2 + w * y).repeat(3, 1)
    t_mixed = share * base + (1 - share) * base[order]

    def ce(rows: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(rows, target)

    p = torch.cat([out.first, out.second, out.mixed]).softmax(dim=1)
    expected = {
        "loss_ctr": nt_xent(out.v_first, out.v_second, 0.25),
        "loss_cls1": ce(out.first, (1 - w) * p2 + w * y) + ce(out.second, (1 - w) * p1 + w * y),
        "loss_cls2": ce(out.mixed, t_mixed),
        "loss_align": ce(out.v_mixed @ mu.T / 0.25, t_mixed),
        "loss_ent": -(p * p.log()).sum(dim=1).mean(),
        "loss_ne": (p.mean(dim=0) * p.mean(dim=0).log()).sum(),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, atol=1e-5, rtol=1e-5, msg=name)
    total = sum(value for name, value in losses.items() if name != "loss_ctr") + 0.25 * losses["loss_ctr"]
    torch.testing.assert_close(method._total(losses), total)


def test_during_warm_up_the_targets_are_the_labels(tcl: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = tcl(**{"method.warm_up": 19, "training.epochs": 200}), []
    make = make_targets
    monkeypatch.setattr("nlkit.methods.tcl.make_targets", lambda *a: seen.append(make(*a)) or seen[-1])
    labels = functional.one_hot(method.data.labels[:16], C).float()
    for epoch in range(21):  # the official code counts from 1: epochs 1 to 19 are warm-up
        losses_of(method, epoch)
        assert torch.equal(seen[-1].first, labels) == (epoch + 1 < 20)


@pytest.mark.parametrize(("given", "expected"), [({}, (0.6, 0.6)), ({"method.scale2": 1.0}, (0.6, 1.0))])
def test_a_scale_that_is_left_out_is_the_share_of_clean_labels(tcl: Make, given: Any, expected: Any) -> None:
    assert tcl(**given)._scales(0.6) == expected


def test_the_one_pass_has_six_rows_an_image_and_the_weak_view_enters_no_loss(tcl: Make) -> None:
    method, seen = tcl(), []
    method.learner.net.encoder.register_forward_hook(lambda net, inputs, out: seen.append(inputs[0]))
    method.learner.net.eval()
    weak = torch.zeros(4, 1, 8, 8, requires_grad=True)
    rows = [torch.randn(n, 1, 8, 8, generator=stream(n)) for n in (12, 4, 4)]
    out = method._forward(weak, *rows)
    torch.testing.assert_close(seen[0], torch.cat([weak, *rows]))
    sum(getattr(out, name).sum() for name in ("mixed", "first", "second", "v_mixed", "v_first", "v_second")).backward()
    assert weak.grad is None or not bool(weak.grad.any())
    torch.testing.assert_close(out.v_first.norm(dim=1), torch.ones(4))


def test_the_learning_rate_moves_with_every_step(tcl: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method, rates = tcl(**{"optim.lr": 0.12, "training.epochs": 200, "method.lr_warm_up": 20}), []
    monkeypatch.setattr(
        method.learner, "step", lambda loss: rates.append(method.learner.optimiser.param_groups[0]["lr"])
    )
    for epoch in (0, 20):
        method.train_epoch(epoch, lambda share: None)
    assert len(rates) == 12
    times = [epoch + step / 6 for epoch in (0, 20) for step in range(6)]
    assert rates == pytest.approx([warm_cosine(time, 0.12, 20, 200, 0.01) for time in times])


@pytest.mark.parametrize(("count", "sizes"), [(96, [16] * 6), (70, [16] * 4), (17, [16]), (9, [9]), (1, [1])])
def test_batches_are_full_and_the_rest_is_dropped(tcl: Make, count: int, sizes: list[int]) -> None:
    batches = tcl(count).full_batches(stream())
    assert [len(batch) for batch in batches] == sizes
    together = torch.cat(batches).tolist()
    assert len(set(together)) == len(together) <= count


def test_mixup_shares_are_at_least_one_half_and_three_quarters_on_average(
    tcl: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, shares = tcl(), []
    monkeypatch.setattr(
        method, "_losses", lambda *a: shares.append(a[3]) or {"loss_ctr": torch.zeros((), requires_grad=True)}
    )
    for epoch in range(400):
        method.train_epoch(epoch, lambda share: None)
    assert min(shares) >= 0.5
    assert abs(np.mean(shares) - 0.75) < 4 * np.std(shares) / np.sqrt(len(shares))


def test_the_first_diagnosis_is_that_of_the_untrained_network_and_each_is_frozen_for_an_epoch(
    tiny_problem: Any, tiny_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen = TCL(tiny_problem().train, tiny_params("tcl")), []
    original = method._losses
    monkeypatch.setattr(method, "_losses", lambda batch, d, *rest: seen.append(d) or original(batch, d, *rest))
    v, out = method.learner.embed(method.data.images)
    expected = diagnose(v, out.softmax(dim=1), method.data.labels, method.method)
    method.train_epoch(0, lambda share: None)
    assert all(torch.equal(d.w, expected.w) and torch.equal(d.prototypes, expected.prototypes) for d in seen)
    split = method.split()
    v, out = method.learner.embed(method.data.images)
    later = diagnose(v, out.softmax(dim=1), method.data.labels, method.method)
    assert torch.equal(split.p_clean[0], later.w) and not torch.equal(later.prototypes, expected.prototypes)
    torch.testing.assert_close(split.losses[0], functional.cross_entropy(out, method.data.labels, reduction="none"))
    del seen[:]
    method.train_epoch(1, lambda share: None)
    assert all(torch.equal(d.w, later.w) for d in seen)


def test_scores_that_cannot_be_separated_leave_a_note(tcl: Make) -> None:
    method = tcl()
    with torch.no_grad():
        for weight in method.learner.net.parameters():
            weight.zero_()
    split = method.split()
    assert bool((split.p_clean == 0.5).all()) and "cannot be separated" in method.events[-1]
    assert bool(torch.isfinite(torch.stack(list(losses_of(method).values()))).all())


def test_the_marginal_term_has_a_weight_of_its_own(tcl: Make) -> None:
    losses = {"loss_ctr": torch.tensor(2.0), "loss_ne": torch.tensor(3.0), "loss_cls1": torch.tensor(5.0)}
    method = tcl(**{"method.ctr_weight": 1.0, "method.marginal_weight": 0.5})
    assert float(method._total(losses)) == 2 + 1.5 + 5


@pytest.mark.parametrize("settings", [{"method.mixture_per": "class"}, {"method.sigma_mode": "per_class"}])
def test_the_variants_train(tcl: Make, settings: dict[str, Any]) -> None:
    method = tcl(**settings)
    for epoch in (0, 1):
        result = method.train_epoch(epoch, lambda share: None)
        assert all(np.isfinite(value) for value in result.values())
        split = method.split()
    assert bool(torch.isfinite(split.p_clean).all())


def test_the_network_of_cifar_has_512_features_two_heads_and_a_norm_on_the_logits() -> None:
    params = load_params("params/tcl/cifar10-sym-50.yaml")
    net = build_network(params, 3, 10, 0)
    layers = [type(layer).__name__ for layer in net.classifier]
    assert layers == ["Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in net.projector] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
        "BatchNorm1d",
    ]
    sizes = [tuple(net.classifier[0].weight.shape), tuple(net.classifier[4].weight.shape)]
    sizes += [tuple(net.projector[0].weight.shape), tuple(net.projector[3].weight.shape)]
    assert sizes == [(512, 512), (10, 512), (512, 512), (256, 512)]
    assert [type(layer).__name__ for layer in net.encoder.blocks[-2:]] == ["BatchNorm2d", "ReLU"]
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)
