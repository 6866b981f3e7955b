"""A network with its optimiser and views, and an epoch: steps, batches, rates, predictions."""

from dataclasses import replace
from itertools import islice

import pytest
import tiny
import torch
from tiny import stream
from torch import Tensor
from torch.nn import functional

from nlkit.data.problem import Problem
from nlkit.parts import epochs
from nlkit.parts.epochs import endless_batches, epoch_subset, full_batches, shuffled_batches
from nlkit.parts.learner import Learner, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def problem() -> Problem:
    return tiny.problem()


@pytest.fixture
def learner(problem: Problem) -> Learner:
    return Learner(problem.train, tiny.params(), "net1")


def some_loss(learner: Learner, problem: Problem, part: slice = slice(16)) -> Tensor:
    logits = learner(learner.views.plain(problem.train.images[part]))
    return functional.cross_entropy(logits, problem.train.labels[part])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_precision_is_what_was_asked_for_and_logits_are_single(precision: str, problem: Problem) -> None:
    asked = {"fp32": {torch.float32}, "bf16": {torch.bfloat16}, "auto": {torch.float32, torch.bfloat16}}
    assert choose_precision(precision, CPU) in asked[precision]
    learner = Learner(problem.train, tiny.params(**{"training.precision": precision}), "net1")
    logits = learner(learner.views.plain(problem.train.images[:4]))
    assert logits.dtype == torch.float32 and logits.shape == (4, 3)
    assert all(parameter.dtype == torch.float32 for parameter in learner.net.parameters())


@pytest.mark.parametrize(
    ("name", "wide", "tiles", "expected"),
    [
        ("AMD EPYC", True, False, torch.bfloat16), ("AMD EPYC", False, False, torch.float32),
        ("Intel(R) Xeon(R) Processor", True, False, torch.float32),
        ("Intel(R) Xeon(R) Processor", True, True, torch.bfloat16),
    ],
)  # fmt: skip
def test_half_precision_is_chosen_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, name: str, wide: bool, tiles: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: wide)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr("nlkit.parts.learner.cpu_name", lambda: name)
    assert choose_precision("auto", CPU) == expected


def test_a_step_is_sgd_with_momentum_and_decay_of_every_parameter(learner: Learner, problem: Problem) -> None:
    other = Learner(problem.train, tiny.params(), "net1")
    sgd = torch.optim.SGD(other.net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        learner.step(some_loss(learner, problem))
        sgd.zero_grad()
        some_loss(other, problem).backward()
        sgd.step()
    assert tiny.same(learner.net.state_dict(), other.net.state_dict())


def test_two_losses_that_are_accumulated_make_the_step_of_their_mean(problem: Problem) -> None:
    whole, parts = (Learner(problem.train, tiny.params(**{"training.accumulate": k}), "net1") for k in (1, 2))
    for learner in (whole, parts):
        learner.net.eval()  # so that both halves have the same statistics
    for _ in range(2):
        whole.step(some_loss(whole, problem))
        for half in (slice(8), slice(8, 16)):
            parts.step(some_loss(parts, problem, half))
    for name, value in whole.tensors().items():
        torch.testing.assert_close(parts.tensors()[name], value)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [1, 7, 96, 1000])
def test_prediction_keeps_order_mode_and_weights(training: bool, size: int, learner: Learner, problem: Problem) -> None:
    learner.step(some_loss(learner, problem))
    learner.net.train(training)
    before = tiny.copied(learner.tensors())
    learner.eval_batch_size = size
    found = learner.predict(problem.train.images)
    assert learner.net.training is training and not found.requires_grad
    assert tiny.same(before, learner.tensors())
    expected = torch.cat([learner.net.eval()(learner.views.plain(image[None])) for image in problem.train.images])
    torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-5)


def test_losses_are_those_of_the_observed_labels_in_order_of_the_samples(learner: Learner, problem: Problem) -> None:
    train, losses = problem.train, learner.losses(problem.train)
    log_p = learner.predict(train.images).log_softmax(dim=1)
    torch.testing.assert_close(losses, torch.stack([-log_p[i, label] for i, label in enumerate(train.labels)]))
    order = torch.randperm(len(train))
    moved = replace(train, images=train.images[order], labels=train.labels[order])
    torch.testing.assert_close(learner.losses(moved), losses[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(learner.losses(train, order[:9]), losses[order[:9]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("sizes", [(16, 16, 16, 16), (7, 7, 1, 1), (0, 0, 5, 5)])
def test_one_pass_equals_separate_passes(dtype: torch.dtype, tolerance: float, sizes: tuple[int, ...]) -> None:
    """Also in the running statistics that it leaves."""
    data, params = tiny.problem(size=32, channels=3).train, tiny.params(**{"model.name": "preact_resnet18"})
    together, apart = Learner(data, params, "net1"), Learner(data, params, "net1")
    for one in (together, apart):
        one.net.to(dtype).train()
    batches = [torch.randn(size, 3, 32, 32, dtype=dtype) for size in sizes]
    for found, batch in zip(together.in_parts(batches), batches, strict=True):
        expected = apart.net(batch).float() if len(batch) else torch.zeros(0, 3)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    first, second = (dict(one.net.named_buffers()) for one in (together, apart))
    for name, left in first.items():
        torch.testing.assert_close(left, second[name], rtol=tolerance, atol=tolerance, msg=name)
    assert len(first) == 51 and int(first["stem.1.num_batches_tracked"]) == sum(size > 0 for size in sizes)
    assert not any("forward" in vars(module) for module in together.net.modules())


@pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_shuffled_batches_visit_every_item_once_and_full_ones_leave_out_the_short_one(count: int, size: int) -> None:
    items = torch.arange(count) * 10
    batches = list(shuffled_batches(items, size, stream()))
    assert [len(batch) for batch in batches] == [size] * (count // size) + [count % size] * (count % size > 0)
    assert torch.equal(torch.cat(batches).sort().values, items)
    full = full_batches(items, size, stream())
    assert len(full) == max(count // size, 1)
    assert all(torch.equal(one, other) for one, other in zip(full, batches, strict=False))


def test_endless_batches_start_again_with_a_fresh_order() -> None:
    batches = list(islice(endless_batches(torch.arange(20), 8, stream()), 9))
    assert [len(batch) for batch in batches] == [8, 8, 4] * 3
    passes = [torch.cat(batches[start : start + 3]) for start in (0, 3, 6)]
    assert all(torch.equal(one.sort().values, torch.arange(20)) for one in passes)
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[1], passes[2])
    assert [len(batch) for batch in islice(endless_batches(torch.arange(0), 8, stream()), 3)] == [0, 0, 0]


@pytest.mark.parametrize("count", [1, 10, 50, 1000])
def test_no_class_has_more_than_its_share_and_small_ones_are_whole(count: int) -> None:
    sizes, limit = (3, 200, 40, 0, 7), -(-count // 5)
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    chosen = epoch_subset(labels, count, 5, stream())
    assert torch.bincount(labels[chosen], minlength=5).tolist() == [min(size, limit) for size in sizes]
    assert len(chosen.unique()) == len(chosen)


def test_every_sample_of_a_class_is_equally_likely() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    drawn = torch.cat([epoch_subset(labels, 4, 2, stream(seed)) for seed in range(3000)])
    hits = torch.bincount(drawn, minlength=8)
    assert hits[6:].tolist() == [3000, 3000]
    # Each of six is drawn with probability 1/3: 1000 of 3000, standard deviation 26.
    assert (hits[:6] - 1000).abs().max() < 5 * 26


def test_a_rate_falls_at_each_step_or_in_one_cycle_and_that_of_tcl_has_the_published_values() -> None:
    params = tiny.params(**{"optim.lr": 0.02, "optim.drop_epochs": [150, 200]})
    rates = [epochs.learning_rate(params, time) for time in (0, 149.9, 150, 199, 200, 300)]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002])
    rates = [epochs.warm_cosine(time, 0.12, 20, 200, 0.01) for time in (0, 10, 20, 100, 200)]
    assert rates == pytest.approx([0, 0.06, 0.12, 0.0790, 0.0041], abs=5e-5)
    cycle = {"optim.drop_epochs": [], "optim.schedule": "cosine", "optim.warm_up": 2.0, "optim.lr": 0.1}
    params = tiny.params(**cycle, **{"training.epochs": 10})
    rates = [epochs.learning_rate(params, time) for time in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0])


def test_the_curve_of_pre_training_is_a_line_that_joins_a_cosine_and_may_be_all_there_is() -> None:
    """Line from 0.01 to the cosine's value after 10 epochs; half of peak and floor in the middle."""
    rates = [epochs.joined_cosine(time, 0.5, 0.01, 10, 1000, 0.001) for time in (0, 5, 10, 500, 750, 1000)]
    assert rates == pytest.approx([0.01, 0.2549384, 0.4998768, 0.25025, 0.0736501, 0.0005], abs=1e-6)
    short = [epochs.joined_cosine(time, 0.5, 0.01, 10, 3, 0.001) for time in range(4)]
    assert short == pytest.approx([0.01, 0.00905, 0.0081, 0.00715])
