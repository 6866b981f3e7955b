"""DivideMix as the official code runs it on WebVision and Clothing1M: half of the mixed rows, balanced subsets."""

import tiny
import torch
from recording import Recording, dividemix, train
from torch import Tensor

from nlkit.parts.semi import mixmatch

HALF = {"method.mixed": "labelled", "method.lambda_u": 0}


def test_the_network_sees_the_mixed_rows_of_labelled_images_only() -> None:
    recording = Recording(dividemix(**HALF))
    result = train(recording.method)
    for step in recording.steps():
        assert len(step.mixed.inputs) == 2 * len(step.own[2].inputs)
    assert result["loss_u_1"] == 0.0


def test_partners_come_from_both_parts_and_losses_are_those_of_the_first_rows() -> None:
    def net(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return inputs.flatten(1)

    seen: list[Tensor] = []
    rows = torch.arange(8.0)[:, None, None, None].expand(8, 1, 1, 3)
    x, u = (rows[:2], rows[2:4]), (rows[4:6], rows[6:])
    refined, guess = torch.eye(3)[:2], torch.eye(3)[1:]
    partners = set()
    for seed in range(20):
        losses = mixmatch(net, x, u, refined, guess, 0.75, tiny.stream(seed), "labelled")  # type: ignore[arg-type]
        assert len(seen[-1]) == 4
        others = 4 * (seen[-1][:, 0, 0, 0] - 0.75 * torch.arange(4.0))
        partners |= set(others.round().int().tolist())
        order = torch.randperm(8, generator=tiny.stream(seed))[:4]
        assert others.round().int().tolist() == order.tolist()
        targets = torch.cat([refined, refined, guess, guess])
        mixed = 0.75 * targets[:4] + 0.25 * targets[order]
        p = seen[-1].flatten(1).softmax(dim=1)
        torch.testing.assert_close(losses["loss_x"], -(mixed * p.log()).sum() / 4)
        torch.testing.assert_close(losses["loss_reg"], (1 / 3 * (1 / 3 / p.mean(dim=0)).log()).sum())
    assert partners == set(range(8))


def test_each_network_looks_at_a_balanced_subset_and_its_peer_trains_on_exactly_that() -> None:
    method = dividemix(**{"method.balanced": 30, "training.batch_size": 4})
    method.epoch = 1
    split = method.split()
    known = torch.isfinite(split.p_clean)
    assert torch.equal(known, torch.isfinite(split.losses))
    for k in (0, 1):
        counts = torch.bincount(method.data.labels[known[k]], minlength=3)
        assert counts.tolist() == torch.bincount(method.data.labels, minlength=3).clamp_max(10).tolist()
        x, u = method._divide(split.p_clean[k], 1 - k, 1)
        assert sorted([*x.tolist(), *u.tolist()]) == known[k].nonzero()[:, 0].tolist()
    assert not torch.equal(known[0], known[1])
    method.epoch = 2
    assert not torch.equal(torch.isfinite(method.split().p_clean[0]), known[0])


def test_p_clean_of_a_subset_is_that_of_its_own_losses() -> None:
    method = dividemix(**{"method.balanced": 30})
    split = method.split()
    for k, net in enumerate(method.nets):
        chosen = torch.isfinite(split.p_clean[k]).nonzero()[:, 0]
        losses = net.losses(method.data)[chosen]
        torch.testing.assert_close(split.losses[k, chosen], losses)
        z = (losses.double() - losses.min()) / (losses.max() - losses.min())
        mixture = split.mixtures[k]
        assert mixture is not None
        torch.testing.assert_close(split.p_clean[k, chosen], mixture.p_clean(z).float(), atol=1e-5, rtol=1e-4)


def test_the_warm_up_passes_over_a_subset_twice_as_large_and_another_one_for_each_network() -> None:
    recording = Recording(dividemix(**{"method.balanced": 15, "method.warm_up": 2}))
    train(recording.method, epoch=1)
    first, second = (recording.seen(k) for k in (0, 1))
    assert len(set(first)) == len(set(second)) == 30 and first != second
