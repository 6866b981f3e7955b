"""What DivideMix does over time, and where its division fails: warm-up, schedules, loss history, guards."""

import math
from typing import Any

import pytest
import tiny
import torch
from recording import Recording, dividemix, train
from torch.nn import functional

from nlkit.methods.dividemix import DivideMix
from nlkit.params.sections import MixtureParams
from nlkit.parts.mixture import fit_mixture, normalise

COUNT, SIZE = 96, 16


@pytest.mark.parametrize("penalty", [False, True])
def test_warm_up_is_cross_entropy_with_the_penalty_on_all_labels_in_double_batches(penalty: bool) -> None:
    method = dividemix(**{"method.penalty": penalty})
    recording = Recording(method)
    result = train(method, epoch=0)
    assert [call.net for call in recording.calls] == [0] * 3 + [1] * 3
    for k in (0, 1):
        calls = [step.mixed for step in recording.steps(k)]
        batches = [recording.samples(call.inputs) for call in calls]
        assert [len(batch) for batch in batches] == [2 * SIZE] * 3 and all(call.training for call in calls)
        assert sorted(i for batch in batches for i in batch) == list(range(COUNT))
        losses = []
        for call, batch in zip(calls, batches, strict=True):
            log_p = call.logits.log_softmax(dim=1)
            entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
            losses.append(float(functional.nll_loss(log_p, method.data.labels[batch]) - penalty * entropy))
        assert result[f"loss_{k + 1}"] == pytest.approx(sum(losses) / 3, rel=1e-4)


def test_the_penalty_belongs_to_the_warm_up_only() -> None:
    one, other = dividemix(**{"method.penalty": True}), dividemix(**{"method.penalty": False})
    assert train(one, 1) == train(other, 1)


def test_both_optimisers_follow_the_schedule() -> None:
    method = dividemix(**{"optim.lr": 0.02, "optim.drop_epochs": [150], "method.warm_up": 400})
    train(method, 150)
    rates = [group["lr"] for net in method.nets for group in net.optimiser.param_groups]
    assert rates == [pytest.approx(0.002)] * 2


@pytest.mark.parametrize("above", [48, 41])
@pytest.mark.parametrize("epoch", [10, 12, 26])
def test_the_weight_of_the_unlabelled_loss_ramps_within_the_epoch(above: int, epoch: int) -> None:
    method = dividemix((above, above), **{"method.warm_up": 10, "method.ramp_epochs": 16})
    counted = above // SIZE + 1  # the official code counts one step too many where the batch size divides |X|
    times = [epoch + step / counted for step in range(math.ceil(above / SIZE))]
    expected = sum(25 * min((time - 10) / 16, 1) for time in times) / len(times)
    assert train(method, epoch)["lambda_u_1"] == pytest.approx(expected)


@pytest.mark.parametrize("loss_epochs", [1, 5])
def test_the_mixture_sees_the_mean_of_the_last_scaled_losses(loss_epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = dividemix(**{"method.loss_epochs": loss_epochs})
    losses = torch.rand(8, 2, COUNT, generator=tiny.stream(0))
    scaled = torch.stack([torch.stack([normalise(one) for one in pair]) for pair in losses])  # type: ignore[misc]
    for now in range(8):
        for k in (0, 1):
            monkeypatch.setattr(method.nets[k], "losses", lambda data, chosen, fake=losses[now, k]: fake)
        split = method.split()
        for k in (0, 1):
            z = scaled[max(now + 1 - loss_epochs, 0) : now + 1, k].mean(dim=0)
            expected = fit_mixture(z, MixtureParams()).p_clean(z).float()
            torch.testing.assert_close(split.p_clean[k], expected)
            torch.testing.assert_close(method.p_clean[k], expected)
        assert torch.equal(split.losses, losses[now])


def test_the_loss_history_starts_at_the_end_of_the_warm_up() -> None:
    method = dividemix(**{"method.warm_up": 3, "method.loss_epochs": 5})
    lengths = []
    for epoch in range(5):
        train(method, epoch)
        method.split()
        lengths.append(method.history.shape[1])
    assert lengths == [1, 1, 1, 2, 3]


def all_finite(method: DivideMix, result: dict[str, float]) -> bool:
    tensors = [value for value in method.state_dict().values() if value.is_floating_point()]
    return all(map(math.isfinite, result.values())) and all(bool(value.isfinite().all()) for value in tensors)


@pytest.mark.parametrize("above", [0, 15, 16, 80, 81, 96])
def test_a_side_smaller_than_a_batch_is_filled_with_the_nearest_in_rank(above: int) -> None:
    method = dividemix((above, 48))
    recording, ranked = Recording(method), method.p_clean[1].argsort(descending=True)
    result = train(method)
    count = min(max(above, SIZE), COUNT - SIZE)
    labelled = {i for step in recording.steps(0) for i in recording.samples(step.own[2].inputs)}
    assert labelled == set(ranked[:count].tolist())
    noted = [f"epoch 2: network 1 got {above} labelled of {COUNT}; {count} taken instead"]
    assert method.events == (noted if above != count else [])
    assert all_finite(method, result)


@pytest.mark.parametrize("bn", ["paper", "fused"])
@pytest.mark.parametrize(
    ("problem", "above"),
    [({"rate": 0.0, "classes": 1}, 48), ({}, 49), ({}, 79), ({"count": 33}, 17), ({"count": 3}, 2), ({"count": 2}, 1)],
    ids=["one class", "labelled batch of one", "unlabelled batch of one", "both", "three samples", "two samples"],
)
def test_odd_batches_and_a_single_class_keep_everything_finite(problem: dict[str, Any], above: int, bn: str) -> None:
    method = dividemix((above, above), problem, **{"method.bn": bn})
    for epoch in (1, 2):
        assert all_finite(method, train(method, epoch))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.0])
def test_inseparable_losses_keep_the_division_and_are_noted(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    method = dividemix()
    before = method.p_clean.clone()
    losses = torch.full((COUNT,), 1.0)
    losses[3] = bad
    monkeypatch.setattr(method.nets[0], "losses", lambda data, chosen: losses)
    split = method.split()
    assert torch.equal(method.p_clean, before) and torch.equal(split.p_clean, before)
    assert split.mixtures[0] is None and len(method.events) == 1
