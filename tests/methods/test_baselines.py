"""mixup and ELR: their losses in closed form, the targets as state, and what they do about wrong labels."""

import pytest
import tiny
import torch
from recording import Recording
from torch.nn.functional import cross_entropy as ce

from nlkit.methods.elr import early_learning, moved
from nlkit.parts import semi


def test_mixup_trains_on_the_mean_of_two_images_with_the_mean_of_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny.method("mixup", 40, **tiny.PLAIN, **{"method.alpha": 4})
    mixes, steps = tiny.spied(monkeypatch, semi, "mixup"), tiny.spied(monkeypatch, method.learner, "step")
    recording = Recording(method)
    tiny.train(method, 0)
    assert sorted(recording.samples(torch.cat([given[0] for given, _ in mixes]))) == list(range(40))
    for ((views, labels, share, order), _), call, ((loss, _), _) in zip(mixes, recording.calls, steps, strict=True):
        given = method.data.labels[recording.samples(views)]
        assert torch.equal(labels.argmax(dim=1), given) and sorted(order.tolist()) == list(range(len(views)))
        torch.testing.assert_close(call.inputs, share * views + (1 - share) * views[order])
        expected = share * ce(call.logits, given) + (1 - share) * ce(call.logits, given[order])
        torch.testing.assert_close(loss, expected)
    shares = [share for (_, _, share, _), _ in mixes]
    assert len(set(shares)) == 3 and min(shares) > 0 and max(shares) < 1


def test_the_gradient_of_the_penalty_is_that_of_the_paper() -> None:
    """For logits z: sum_c of d/dz is zero, and d/dz_c = -p_c (t_c - <p, t>) / (1 - <p, t>) / B."""
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    t = 0.9 * torch.rand(5, 4, dtype=torch.float64).softmax(dim=1)
    p = z.softmax(dim=1)
    early_learning(p, t).backward()
    inner = (p * t).sum(dim=1, keepdim=True)
    torch.testing.assert_close(z.grad, (-p * (t - inner) / (1 - inner) / 5).detach())


def test_targets_are_running_means_of_predictions() -> None:
    p = torch.tensor([[0.6, 0.3, 0.3]])
    t = torch.zeros(1, 3)
    for step in range(1, 30):
        t = moved(t, p, 0.7)
        torch.testing.assert_close(t, (1 - 0.7**step) * p / 1.2)


def test_elr_moves_the_target_of_a_sample_once_an_epoch_before_it_uses_it() -> None:
    method = tiny.method("elr", 24, **tiny.PLAIN, **{"training.batch_size": 24, "method.weight": 2})
    recording = Recording(method)
    (values,) = tiny.train(method, 0)
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.3))
    p = recording.calls[0].logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
    expected = torch.log(1 - (p * 0.3 * p / p.sum(dim=1, keepdim=True)).sum(dim=1)).mean()
    assert values["penalty"] == pytest.approx(float(expected), abs=1e-6)
    tiny.train(method, 1)
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.51))
