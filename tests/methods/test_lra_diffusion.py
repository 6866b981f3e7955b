"""One step and one epoch of LRA-diffusion: what is retrieved, what is lost, what is trained, and what is predicted."""

from typing import Any

import pytest
import tiny
import torch
from fuzzing import refused
from torch import Tensor, nn
from torch.nn import functional

from nlkit.methods.lra_diffusion import LRADiffusion
from nlkit.parts.diffusion import add_noise, antithetic_times, closeness


def lra(count: int = 48, **settings: Any) -> LRADiffusion:
    return tiny.method("lra_diffusion", count, **settings)


def loss_of(method: LRADiffusion, w: Tensor, labels: Tensor) -> Tensor:
    view = method.learner.views.plain(method.data.images[: len(labels)])
    return method._loss(view, method.bank[: len(labels)], labels, w, tiny.stream())


def test_the_loss_is_that_of_the_equation() -> None:
    method = lra(**{"method.draws": 2})
    learner = method.learner
    learner.net.eval()
    labels, w = torch.randint(3, (6, 2), generator=tiny.stream(1)), torch.rand(6, 2, generator=tiny.stream(2))
    found = loss_of(method, w, labels)
    draws = tiny.stream()
    t = antithetic_times(12, 40, draws, torch.device("cpu"))
    noise = torch.randn(12, 3, generator=draws)
    expected = 0.0
    for row in range(12):
        image, draw = row // 2, row % 2
        y = functional.one_hot(labels[image, draw], 3).float()[None]
        noisy = add_noise(y, t[row : row + 1], noise[row : row + 1], learner.abar)
        view = learner.views.plain(method.data.images[image : image + 1])
        embedding = learner.embed(learner.net, view)
        predicted = learner.net.denoiser(embedding, noisy, t[row : row + 1], method.bank[image : image + 1])
        expected += float((w[image, draw] * (noise[row] - predicted[0]).square().sum() / 3).detach())
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_step_weighs_by_votes_or_all_the_same(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    method = lra(**{"method.weighted": weighted, "method.draws": 2})
    losses = tiny.spied(monkeypatch, method, "_loss")
    assert tiny.train(method, 0)[0]["loss"] > 0 and len(losses) == 3
    for (_, _, _, w, _), _ in losses:
        assert w.shape == (16, 2) and float(w.sum()) == pytest.approx(1)
        assert (float(w.min()) < float(w.max())) == weighted


@pytest.mark.parametrize("trained", [True, False])
def test_a_gradient_reaches_the_encoder_only_where_it_is_trained_and_never_the_frozen_one(trained: bool) -> None:
    method = lra(**{"method.train_encoder": trained})
    net = method.learner.net
    before, bank = tiny.copied(net.state_dict()), method.bank.clone()
    tiny.train(method, 0, 1)
    changed = {name for name, _ in net.named_parameters() if not torch.equal(net.state_dict()[name], before[name])}
    assert all(name in changed for name, _ in net.named_parameters() if name.startswith("denoiser."))
    assert any(name.startswith("encoder.") for name in changed) == trained
    assert not method.bank.requires_grad and torch.equal(method.bank, bank) and torch.equal(method._bank(), bank)
    assert all((weight.grad is not None) == trained for weight in net.encoder.parameters())


@pytest.mark.parametrize("query", ["view", "cached"])
def test_queries_are_of_the_view_or_rows_of_the_bank(query: str) -> None:
    method = lra(**{"method.query": query, "method.bank": "plain", "views.pad": 1})
    batch = torch.tensor([3, 5, 40])
    view = method.learner.views.weak(method.data.images[batch], tiny.stream())
    z, counts = method._retrieve(batch, view)
    assert torch.equal(z, view.flatten(1) if query == "view" else method.bank[batch])
    index = torch.cdist(z, method.bank).topk(5, largest=False).indices
    candidates = torch.cat([method.data.labels[index], method.data.labels[batch, None]], dim=1)
    assert torch.equal(counts, functional.one_hot(candidates, 3).sum(dim=1))


def test_the_bank_holds_one_view_or_the_plain_image_and_the_cosine_is_the_distance_of_unit_vectors() -> None:
    plain, view = (lra(**{"method.bank": kind, "views.pad": 2}) for kind in ("plain", "view"))
    assert torch.equal(plain.bank, plain.learner.views.plain(plain.data.images).flatten(1))
    assert not torch.equal(view.bank, plain.bank) and torch.equal(view.plain, plain.bank)
    assert torch.equal(view._bank(), view.bank)
    cosine = lra(**{"method.distance": "cosine", "method.bank": "plain", "method.query": "cached"})
    z = cosine.bank.double()
    similar = functional.normalize(z, dim=1) @ functional.normalize(z, dim=1).T
    index = similar.topk(5, dim=1).indices
    candidates = torch.cat([cosine.data.labels[index], cosine.data.labels[:, None]], dim=1)
    assert torch.equal(cosine.counts, functional.one_hot(candidates, 3).sum(dim=1))


def test_gradients_of_both_networks_are_clipped_each() -> None:
    method = lra()
    labels = torch.randint(3, (16, 1), generator=tiny.stream(1))
    method.learner.step(100 * loss_of(method, torch.full((16, 1), 1 / 16), labels), 0.01)
    for part in (method.learner.net.denoiser, method.learner.net.encoder):
        gradients = [weight.grad for weight in part.parameters() if weight.grad is not None]
        assert float(nn.utils.get_total_norm(gradients)) == pytest.approx(0.01, rel=1e-3)


def test_predictions_repeat_and_do_not_depend_on_the_batch() -> None:
    method = lra()
    tiny.train(method, 0)
    images = method.data.images
    ensemble, singles = method.logits(images)
    again, _ = method.logits(images)
    assert torch.equal(ensemble, again)
    for part in (images[:1], images[5:9], images[torch.arange(47, -1, -1)]):
        index = [int((images == one).flatten(1).all(dim=1).nonzero()[0]) for one in part]
        torch.testing.assert_close(method.logits(part)[1], singles[:, index], atol=1e-3, rtol=1e-4)


def test_the_result_is_of_the_weights_that_the_parameters_name() -> None:
    ema, raw = (lra(**{"method.evaluate": name}) for name in ("ema", "raw"))
    for method in (ema, raw):
        tiny.train(method, 0, 1)
    images = ema.data.images[:9]
    (first, of_ema), (second, of_raw) = ema.logits(images), raw.logits(images)
    assert torch.equal(first, of_ema[0]) and torch.equal(second, of_raw[0])
    assert torch.equal(of_ema[0], of_raw[1]) and torch.equal(of_ema[1], of_raw[0])
    assert not torch.equal(of_ema[0], of_ema[1]) and ema.learner.nets()[0] is ema.learner.ema.net


def test_the_third_network_is_the_vote_of_the_nearest_labels_and_in_a_split_of_the_nearest_others() -> None:
    method = lra(**{"method.bank": "plain"})
    images = method.data.images[:6].flip(1)
    z = method.learner.views.plain(images).flatten(1)
    index = torch.cdist(z, method.bank).topk(5, largest=False).indices
    counts = functional.one_hot(method.data.labels[index], 3).sum(dim=1)
    torch.testing.assert_close(method.logits(images)[1][2].exp(), (counts + 1) / 8)
    tiny.train(method, 0)
    split = method.split()
    index = torch.cdist(method.bank, method.bank).fill_diagonal_(torch.inf).topk(5, largest=False).indices
    share = (method.data.labels[index] == method.data.labels[:, None]).float().mean(dim=1)
    torch.testing.assert_close(split.samples["vote"], share)
    torch.testing.assert_close(split.losses[2], -((5 * share + 1) / 8).log())


def test_label_vectors_are_recorded_where_snapshots_are_taken() -> None:
    method = lra(**{"training.epochs": 3, "training.snapshots": [1]})
    for epoch, recorded in enumerate((True, False, True)):
        method.train_epoch(epoch, lambda share: None)
        row = method.split().epoch
        assert 0 <= row.pop("argmax_differs") <= 1
        assert all((value is not None) == recorded for value in row.values())
        if recorded:
            path = torch.tensor(row["label_vectors"]).view(5, 16, 3)
            assert not path[0].any()
            decided = -((path[-1] - 1) ** 2)
            torch.testing.assert_close(closeness(torch.tensor([[1.3, 0.95]]), 0.1), torch.tensor([[-0.9, -0.025]]))
            assert torch.equal(decided.argmax(dim=1), method.logits(method.data.images[:16])[0].argmax(dim=1))


def test_more_neighbours_than_images_are_cut_and_noted() -> None:
    method = lra(count=9, **{"method.k": 50})
    tiny.train(method, 0)
    split = method.split()
    assert method.k == 7 and method.events == ["9 images have 7 neighbours each at most"]
    assert float(split.samples["vote"].max()) <= 1
    refused(lambda: lra(count=2), "has 2 images; lra_diffusion needs three")


def test_blobs_with_wrong_labels_are_learnt() -> None:
    problem = tiny.problem(count=400, classes=4, rate=0.4, size=4)
    settings = {"method.k": 10, "method.width": 32, "method.timesteps": 1000, "method.sampling_steps": 10}
    settings |= {"optim.lr": 0.005, "training.epochs": 8, "method.draws": 8, "method.ema_decay": 0.95}
    method = tiny.method("lra_diffusion", problem.train, **tiny.PLAIN, **settings, **{"optim.weight_decay": 0})
    tiny.train(method, *range(8))
    images, labels = problem.tests["test"]
    _, singles = method.logits(images)
    right = (singles.argmax(dim=2) == labels).double().mean(dim=1)
    assert float(right[0]) > 0.95 and float(right[0]) >= float(right[2]) - 0.02
    assert method.logits(problem.train.images)[0].argmax(dim=1).eq(problem.clean).double().mean() > 0.95


def test_between_evaluations_the_last_division_stands_and_a_resumed_run_has_it() -> None:
    settings = {"training.epochs": 9, "training.snapshots": []}
    often, seldom = lra(**settings), lra(**settings, **{"method.evaluate_every": 3})
    for epoch in range(4):
        splits = [method.split() for method in (often, seldom) if tiny.train(method, epoch)]
        same = torch.equal(splits[0].losses, splits[1].losses)
        assert same == (epoch in (0, 2))  # of four epochs the first and the third are divided
    again = lra(**settings, **{"method.evaluate_every": 3})
    again.load_state_dict(seldom.state_dict())
    again.epoch = 4
    assert torch.equal(again.split().p_clean, splits[1].p_clean) and not splits[1].samples
