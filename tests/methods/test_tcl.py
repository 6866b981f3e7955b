"""One step and one epoch of TCL: which rows go through the network, towards which targets; and its second stage."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit import lazy
from nlkit.data.problem import TrainingSet
from nlkit.methods import tcl as tcl_module
from nlkit.methods.tcl import TCL
from nlkit.methods.tcl_plus import SecondStage, TCLPlus, correct
from nlkit.params import load_params
from nlkit.parts.features import nt_xent
from nlkit.parts.learner import TwinLearner
from nlkit.parts.mixture import diagnose
from nlkit.training import loop as training

C = 3


def tcl(count: int = 96, **settings: Any) -> TCL:
    """A method that has been diagnosed once; settings are dotted keys."""
    method = tiny.method("tcl", count, **settings)
    method.split()
    return method


def losses_of(method: TCL, epoch: int = 1, share: float = 0.8, batch: int = 16) -> dict[str, Tensor]:
    """The losses of the first images, fixed in every random choice; six labels in ten are taken for clean."""
    method.beta = SimpleNamespace(beta=lambda a, b: share)  # type: ignore[assignment]
    method.epoch, method.clean_ratio = epoch + 1, 0.6
    return method.losses(torch.arange(batch), tiny.stream())


@pytest.mark.parametrize(("share", "scales"), [(0.7, (0.8, 0.5)), (1.0, (None, None))])
def test_the_losses_are_those_of_the_equations(share: float, scales: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale that is left out is the share of labels taken for clean. All weights, and only they, have gradients."""
    own = {"method.marginal_weight": 0.5, "method.scale1": scales[0], "method.scale2": scales[1]}
    method, size = tcl(**own), 16
    passes, made = tiny.spied(monkeypatch, method, "_forward"), tiny.spied(monkeypatch, tcl_module, "make_targets")
    losses = losses_of(method, share=share, batch=size)
    losses["loss"].backward()
    assert all(weight.grad is not None for weight in method.learner.net.parameters())
    assert not any(one.requires_grad for one in (*made[0][1], method.prototypes, method.w))
    (weak, mixed, first, second), (v, (on_mixed, on_first, on_second)) = passes[0]
    stacked = torch.cat([weak, first, second])
    generator = tiny.stream()
    method.learner.views.weak(method.data.images[:size], generator)
    for _ in range(2):
        method.strong(method.data.images[:size], generator)
    order = torch.randperm(3 * size, generator=generator)
    torch.testing.assert_close(mixed, share * stacked + (1 - share) * stacked[order])
    mu, w = method.prototypes, method.w[:size, None]
    w1, w2 = ((scale or 0.6) * w for scale in scales)
    y = functional.one_hot(method.data.labels[:size], C).float()
    p1, p2 = (rows.detach().softmax(dim=1) for rows in (on_first, on_second))
    base = ((1 - w2) * (p1 + p2) / 2 + w2 * y).repeat(3, 1)
    t_mixed = share * base + (1 - share) * base[order]

    def ce(rows: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(rows, target)

    p = torch.cat([on_first, on_second, on_mixed]).softmax(dim=1)
    expected = {
        "loss_ctr": nt_xent(v[1], v[2], 0.25),
        "loss_cls1": ce(on_first, (1 - w1) * p2 + w1 * y) + ce(on_second, (1 - w1) * p1 + w1 * y),
        "loss_cls2": ce(on_mixed, t_mixed),
        "loss_align": ce(v[0] @ mu.T / 0.25, t_mixed),
        "loss_ent": -(p * p.log()).sum(dim=1).mean(),
        "loss_ne": (p.mean(dim=0) * p.mean(dim=0).log()).sum(),
    }
    unweighed = [name for name in expected if name not in ("loss_ctr", "loss_ne")]
    total = 0.25 * expected["loss_ctr"] + 0.5 * expected["loss_ne"] + sum(expected[name] for name in unweighed)
    expected["loss"] = total
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_during_warm_up_the_targets_are_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tcl(**{"method.warm_up": 19, "training.epochs": 200})
    made = tiny.spied(monkeypatch, tcl_module, "make_targets")
    labels = functional.one_hot(method.data.labels[:16], C).float()
    for epoch in range(21):  # the official code counts from 1: epochs 1 to 19 are warm-up
        losses_of(method, epoch)
        assert torch.equal(made[-1][1][1], labels) == (epoch + 1 < 20)


def test_the_one_pass_has_six_rows_an_image_and_the_weak_view_enters_no_loss() -> None:
    method, seen = tcl(), []
    method.learner.net.encoder.register_forward_hook(lambda net, inputs, out: seen.append(inputs[0]))
    method.learner.net.eval()
    weak = torch.zeros(4, 1, 8, 8, requires_grad=True)
    rows = [torch.randn(n, 1, 8, 8, generator=tiny.stream(n)) for n in (12, 4, 4)]
    v, out = method._forward(weak, *rows)
    torch.testing.assert_close(seen[0], torch.cat([weak, *rows]))
    sum(part.sum() for part in (*v, *out)).backward()
    assert weak.grad is None or not bool(weak.grad.any())
    torch.testing.assert_close(v[1].norm(dim=1), torch.ones(4))


@pytest.mark.parametrize(("views", "order"), [("corrected", "weak 1 2"), ("published_code", "1 2 weak")])
def test_the_first_code_compared_strong_with_weak(views: str, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = tcl(**{"method.views": views})
    weak, strong = (tiny.spied(monkeypatch, *one) for one in ((method.learner.views, "weak"), (method, "strong")))
    passes = tiny.spied(monkeypatch, method, "_forward")
    losses_of(method)
    made = dict(zip(("weak", "1", "2"), (view for _, view in weak + strong), strict=True))
    first, _, *compared = passes[0][0]
    assert all(rows is made[name] for rows, name in zip((first, *compared), order.split(), strict=True))


def test_the_first_diagnosis_is_that_of_the_untrained_network_and_each_is_frozen_for_an_epoch() -> None:
    method = tiny.method("tcl")
    v, out = method.learner.embed(method.data.images)
    expected = diagnose(v, out.softmax(dim=1), method.data.labels, method.method)
    row = method.train_epoch(0, lambda share: None)
    assert row["clean_ratio"] == float((expected.w > 0.5).double().mean()) != 0.5
    assert torch.equal(method.w, expected.w) and torch.equal(method.prototypes, expected.prototypes)
    split = method.split()
    v, out = method.learner.embed(method.data.images)
    later = diagnose(v, out.softmax(dim=1), method.data.labels, method.method)
    assert torch.equal(split.p_clean[0], later.w) and not torch.equal(later.prototypes, expected.prototypes)
    torch.testing.assert_close(split.losses[0], functional.cross_entropy(out, method.data.labels, reduction="none"))
    tiny.train(method, 1)
    assert torch.equal(method.w, later.w)


def test_scores_that_cannot_be_separated_leave_a_note() -> None:
    method = tcl()
    with torch.no_grad():
        for weight in method.learner.net.parameters():
            weight.zero_()
    split = method.split()
    assert bool((split.p_clean == 0.5).all()) and "cannot be separated" in method.events[-1]
    assert bool(torch.isfinite(torch.stack(list(losses_of(method).values()))).all())


@pytest.mark.parametrize("own", [{}, {"method.mixture_per": "class"}, {"method.sigma_mode": "per_class"}])
def test_a_row_tells_the_mixture_of_scores_and_the_places_of_prototypes(own: dict[str, Any], tmp_path: Path) -> None:
    params = tiny.params("tcl", **{"training.epochs": 2, "training.snapshots": [1]}, **own)
    fit = training.fit(tiny.problem(), params, tmp_path, progress=False)
    for row in fit.rows:
        assert len(row["prototypes_1"]) == len(row["prototypes_2"]) == C
        assert row["mixture_means"] is None  # no mixture is fitted to the losses
        if "method.mixture_per" not in own:
            assert sum(row["score_weights"]) == pytest.approx(1) and row["score_means"][0] < row["score_means"][1]
    for snapshot in fit.snapshots.values():
        assert set(snapshot) == {"loss", "p_clean", "score", "own", "other", "map_1", "map_2"}
        assert float(snapshot["score"].min()) == 0 and float(snapshot["score"].max()) == 1


def test_the_network_of_cifar_has_512_features_two_heads_and_a_norm_on_the_logits() -> None:
    params = load_params(tiny.ROOT / "params/tcl/cifar10-sym-50.yaml")
    data = TrainingSet(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.tensor([0, 1]), 10, (0.5,) * 3, (0.5,) * 3)
    net: Any = TwinLearner(data, params, "net1").net

    def layers(part: nn.Sequential) -> list[str]:
        return [type(layer).__name__ + str(getattr(layer, "out_features", "")) for layer in part]

    assert layers(net.classifier) == ["Linear512", "BatchNorm1d", "ReLU", "Dropout", "Linear10", "BatchNorm1d"]
    assert layers(net.projector) == ["Linear512", "BatchNorm1d", "ReLU", "Linear256", "BatchNorm1d"]
    assert layers(net.encoder.blocks[-2:]) == ["BatchNorm2d", "ReLU"] and net.classifier[0].in_features == 512
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)


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


def test_the_second_stage_starts_from_the_first_and_leaves_it_its_own_labels_and_the_projector_alone() -> None:
    method, stage = begun(**{"method.first.temperature": 0.05})
    assert method.nets == [stage.follower]
    first, labels = tiny.copied(method.first.state_dict()), stage.labels.clone()
    fresh = SecondStage(method.params, method.first, method.data.labels)
    for one in (fresh.learner, fresh.follower):
        assert tiny.same(one.net.state_dict(), method.first.learner.net.state_dict())
    tiny.train(method, 3, split=True)
    assert tiny.same(method.first.state_dict(), first)
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
    modes = {type(part): part.training for part in stage.follower.net.modules()}
    assert modes[nn.BatchNorm2d] and not modes[nn.Dropout]
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
