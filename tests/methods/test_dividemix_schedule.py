"""What DivideMix does over time, where its division fails, and as large sets have it: balanced subsets."""

import math
from typing import Any

import pytest
import tiny
import torch
from recording import Recording, dividemix
from torch.nn import functional

from nlkit.methods.dividemix import DivideMix
from nlkit.params.sections import MixtureParams
from nlkit.parts.mixture import fit_mixture, normalise

COUNT, SIZE = 96, 16


@pytest.mark.parametrize("penalty", [False, True])
def test_warm_up_is_cross_entropy_with_the_penalty_on_all_labels_in_double_batches(penalty: bool) -> None:
    method = dividemix(**{"method.penalty": penalty})
    recording = Recording(method)
    (result,) = tiny.train(method, 0)
    assert [call.net for call in recording.calls] == [0] * 3 + [1] * 3
    for k in (0, 1):
        calls = [step.mixed for step in recording.steps(k)]
        batches = [recording.samples(call.inputs) for call in calls]
        assert [len(batch) for batch in batches] == [2 * SIZE] * 3 and all(call.training for call in calls)
        assert sorted(i for batch in batches for i in batch) == list(range(COUNT))
        losses = []
        for call, batch in zip(calls, batches, strict=True):
            entropy = torch.distributions.Categorical(logits=call.logits).entropy().mean()
            losses.append(float(functional.cross_entropy(call.logits, method.data.labels[batch]) - penalty * entropy))
        assert result[f"loss_{k + 1}"] == pytest.approx(sum(losses) / 3, rel=1e-4)


def test_both_optimisers_follow_the_schedule_and_the_penalty_belongs_to_the_warm_up_only() -> None:
    method = dividemix(**{"optim.lr": 0.02, "optim.drop_epochs": [150], "method.warm_up": 400})
    for epoch, rate in ((149, 0.02), (150, 0.002)):
        tiny.train(method, epoch)
        rates = [group["lr"] for net in method.nets for group in net.optimiser.param_groups]
        assert rates == [pytest.approx(rate)] * 2
    one, other = dividemix(**{"method.penalty": True}), dividemix(**{"method.penalty": False})
    assert tiny.train(one, 1)[0] == tiny.train(other, 1)[0]


@pytest.mark.parametrize("above", [48, 41])
@pytest.mark.parametrize("epoch", [10, 12, 26])
def test_the_weight_of_the_unlabelled_loss_ramps_within_the_epoch(above: int, epoch: int) -> None:
    method = dividemix((above, above), **{"method.warm_up": 10, "method.ramp_epochs": 16})
    counted = above // SIZE + 1  # the official code counts one step too many where the batch size divides |X|
    times = [epoch + step / counted for step in range(math.ceil(above / SIZE))]
    expected = sum(25 * min((time - 10) / 16, 1) for time in times) / len(times)
    assert tiny.train(method, epoch)[0]["lambda_u_1"] == pytest.approx(expected)


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
        tiny.train(method, epoch)
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
    (result,) = tiny.train(method, 1)
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
        assert all_finite(method, tiny.train(method, epoch)[0])


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


def test_each_network_divides_a_balanced_subset_by_its_own_losses_and_its_peer_trains_on_exactly_that() -> None:
    method = dividemix(**{"method.balanced": 30, "training.batch_size": 4})
    method.epoch = 1
    split = method.split()
    known = torch.isfinite(split.p_clean)
    assert torch.equal(known, torch.isfinite(split.losses)) and not torch.equal(known[0], known[1])
    for k, net in enumerate(method.nets):
        chosen = known[k].nonzero()[:, 0]
        counts = torch.bincount(method.data.labels[chosen], minlength=3)
        assert counts.tolist() == torch.bincount(method.data.labels, minlength=3).clamp_max(10).tolist()
        losses = net.losses(method.data)[chosen]
        torch.testing.assert_close(split.losses[k, chosen], losses)
        mixture, z = split.mixtures[k], (losses.double() - losses.min()) / (losses.max() - losses.min())
        assert mixture is not None
        torch.testing.assert_close(split.p_clean[k, chosen], mixture.p_clean(z).float(), atol=1e-5, rtol=1e-4)
        x, u = method._divide(split.p_clean[k], 1 - k, 1)
        assert sorted([*x.tolist(), *u.tolist()]) == chosen.tolist()
    method.epoch = 2
    assert not torch.equal(torch.isfinite(method.split().p_clean[0]), known[0])


def test_the_warm_up_passes_over_a_subset_twice_as_large_and_another_one_for_each_network() -> None:
    recording = Recording(dividemix(**{"method.balanced": 15, "method.warm_up": 2}))
    tiny.train(recording.method, 1)
    first, second = (recording.seen(k) for k in (0, 1))
    assert len(set(first)) == len(set(second)) == 30 and first != second
