"""The semi-supervised step of DivideMix: who divides, who guesses, in which mode, towards which targets."""

import math
from itertools import pairwise

import pytest
import tiny
import torch
from recording import Recording, dividemix

from nlkit.methods import dividemix as module
from nlkit.parts import semi

COUNT, SIZE = 96, 16


def test_each_network_learns_from_the_division_and_newest_weights_of_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    method = dividemix()
    targets, before = tiny.spied(monkeypatch, module, "soft_targets"), method.p_clean.clone()
    second_before = method.nets[1].net.classifier.weight.detach().clone()
    recording = Recording(method)
    (result,) = tiny.train(method, 1)
    assert torch.equal(method.p_clean, before)
    for k in (0, 1):
        w, steps = before[1 - k], recording.steps(k)
        labelled = [i for step in steps for i in recording.samples(step.own[2].inputs)]
        assert sorted(labelled) == (w > 0.5).nonzero()[:, 0].tolist()
        refined = [given for given, _ in targets[1 : 2 * len(steps) : 2]]  # each after the guesses of its step
        assert torch.equal(torch.cat([given[3] for given in refined]), w[labelled])
        assert torch.equal(torch.cat([given[2] for given in refined]), method.data.labels[labelled])
        unlabelled = {i for step in steps for i in recording.samples(step.own[0].inputs)}
        assert unlabelled <= set(range(COUNT)) - set(labelled)
        assert (result[f"labelled_{k + 1}"], result[f"unlabelled_{k + 1}"]) == ((41, 55), (54, 42))[k]
        del targets[: 2 * len(steps)]
    steps = recording.steps()
    assert [step.mixed.net for step in steps] == [0] * 3 + [1] * 4
    first_after = method.nets[0].net.classifier.weight.detach()
    assert all(torch.equal(call.weights, second_before) for step in steps[:3] for call in step.peer)
    assert all(torch.equal(call.weights, first_after) for step in steps[3:] for call in step.peer)
    assert all(not torch.equal(one.mixed.weights, next_.mixed.weights) for one, next_ in pairwise(steps[:3]))


def test_a_sample_is_labelled_above_the_threshold_and_not_at_it() -> None:
    method = dividemix(**{"method.threshold": 0.75})
    method.p_clean[1] = torch.linspace(0.5, 1, COUNT)
    method.p_clean[1, 60:70] = 0.75
    assert tiny.train(method, 1)[0]["labelled_1"] == float((method.p_clean[1] > 0.75).sum()) == 38


@pytest.mark.parametrize(("above", "sizes"), [(48, [16] * 3), (33, [16] * 3), (41, [16] * 3), (76, [16, 4, 16, 4, 16])])
def test_an_epoch_is_one_pass_over_x_and_u_starts_again_when_it_ends(above: int, sizes: list[int]) -> None:
    method = dividemix((above, 48))
    recording = Recording(method)
    tiny.train(method, 1)
    steps = recording.steps(0)
    assert len(steps) == math.ceil(above / SIZE)
    batches = [recording.samples(step.own[0].inputs) for step in steps]
    assert [len(batch) for batch in batches] == sizes
    if above == 76:
        first, second = batches[0] + batches[1], batches[2] + batches[3]
        assert len(set(first)) == 20 and set(first) == set(second) and first != second


@pytest.mark.parametrize("pad", [0, 2])
def test_the_trained_network_sees_all_four_views_its_peer_two_and_the_mixture_has_as_many_rows(pad: int) -> None:
    recording = Recording(dividemix(**{"views.pad": pad}))
    tiny.train(recording.method, 1)
    for step in recording.steps():
        u1, u2, x1, x2 = (call.inputs for call in step.own)
        assert torch.equal(u1, u2) == torch.equal(x1, x2) == (pad == 0)  # without padding these views move nothing
        assert torch.equal(torch.cat([u1, u2]), torch.cat([call.inputs for call in step.peer]))
        assert len(step.mixed.inputs) == 2 * len(x1) + 2 * len(u1)


@pytest.mark.parametrize(("bn", "passes"), [("paper", 5), ("fused", 2)])
def test_batch_norm_sees_the_passes_of_the_mode_and_the_peer_stays_as_it_was(bn: str, passes: int) -> None:
    problem = {"count": 40, "size": 32, "channels": 3}
    method = dividemix((21, 21), problem, **{"method.bn": bn, "model.name": "preact_resnet18"})
    recording, peer_before = Recording(method), tiny.copied(method.nets[1].tensors())
    method._train_network(0, method.p_clean[1], 1, lambda share: None)
    tracked = [value for name, value in method.nets[0].tensors().items() if name.endswith("num_batches_tracked")]
    assert len(tracked) == 17 and all(int(value) == passes * 2 for value in tracked)
    assert {call.net for call in recording.calls} == {0, 1}
    assert all(call.training is (call.net == 0) for call in recording.calls)
    assert tiny.same(method.nets[1].tensors(), peer_before)


@pytest.mark.parametrize(
    ("bn", "lambda_u", "seen"), [("paper", 25, "all"), ("fused", 25, "all"), ("paper", 0, "labelled")]
)
def test_targets_and_loss_of_a_step_are_those_of_the_algorithm(
    bn: str, lambda_u: float, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the network sees mixed rows of labelled images only, their partners come from both parts all the same."""
    settings = {"method.bn": bn, "method.lambda_u": lambda_u, "method.mixed": seen}
    method = dividemix(**settings, **{"method.temperature": 0.7, "method.lambda_r": 0.8})
    mixes, stepped = tiny.spied(monkeypatch, semi, "mix"), tiny.spied(monkeypatch, method.nets[0], "step")
    recording, peer_w, parts = Recording(method), method.p_clean[1].clone(), list[list[float]]()
    (result,) = tiny.train(method, 1)
    for number, one in enumerate(recording.steps(0)):
        ((inputs, share, order), _), ((targets, *_), mixed_targets) = mixes[2 * number : 2 * number + 2]
        rows = len(inputs) - 2 * SIZE
        assert 0.5 <= share <= 1 and len(order.unique()) == (len(inputs) if seen == "all" else rows)
        assert 0 <= int(order.min()) < rows <= int(order.max()) < len(inputs)
        assert not targets.requires_grad and targets.dtype == torch.float32
        x = recording.samples(inputs[: rows // 2])
        own = torch.cat([call.logits for call in one.own]).softmax(dim=1)
        theirs = torch.cat([call.logits for call in one.peer]).softmax(dim=1)
        u1, u2, x1, x2 = own.split([SIZE, SIZE, len(x), len(x)])
        guess = ((u1 + u2 + theirs[:SIZE] + theirs[SIZE:]) / 4) ** (1 / 0.7)
        w, one_hot = peer_w[x][:, None], torch.eye(3)[method.data.labels[x]]
        refined = (w * one_hot + (1 - w) * (x1 + x2) / 2) ** (1 / 0.7)
        expected = torch.cat([refined, refined, guess, guess])
        torch.testing.assert_close(targets, expected / expected.sum(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)
        for found, given in ((one.mixed.inputs, inputs), (mixed_targets, targets)):
            torch.testing.assert_close(found, share * given[: len(order)] + (1 - share) * given[order])
        p = one.mixed.logits.softmax(dim=1)
        loss_x = -(mixed_targets[:rows] * p[:rows].log()).sum() / rows
        loss_u = (p[rows:] - mixed_targets[rows:]).square().sum() / max(p[rows:].numel(), 1)
        loss_reg = (1 / 3 * (1 / 3 / p.mean(dim=0)).log()).sum()
        parts.append([float(loss_x), float(loss_u), float(loss_reg)])
        ramp = number / 3 / 2
        ((total,), _) = stepped[number]
        assert float(total.detach()) == pytest.approx(
            float(loss_x + lambda_u * ramp * loss_u + 0.8 * loss_reg), rel=1e-4
        )
    assert len({share for (_, share, _), _ in mixes}) == len(mixes) / 2
    means = [sum(values) / 3 for values in zip(*parts, strict=True)]
    assert [result[f"loss_{part}_1"] for part in ("x", "u", "reg")] == pytest.approx(means, rel=1e-3)


def test_the_ensemble_sums_logits() -> None:
    method = dividemix()
    ensemble, singles = method.logits(method.data.images)
    assert not torch.equal(*singles)
    for k, net in enumerate(method.nets):
        torch.testing.assert_close(singles[k], net.predict(method.data.images))
    torch.testing.assert_close(ensemble, singles[0] + singles[1])
