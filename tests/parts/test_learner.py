"""A network with its optimiser and views: steps, rates, predictions, and what a checkpoint holds of them."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.problem import Problem
from nlkit.parts.learner import Learner, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def problem() -> Problem:
    return tiny.problem()


@pytest.fixture
def learner(problem: Problem) -> Learner:
    return Learner(problem.train, tiny.params(), "net1")


def some_loss(learner: Learner, problem: Problem) -> Tensor:
    logits = learner(learner.views.plain(problem.train.images[:16]))
    return functional.cross_entropy(logits, problem.train.labels[:16])


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


def test_networks_of_two_names_or_two_seeds_start_differently(problem: Problem, learner: Learner) -> None:
    weight = learner.net.classifier.weight
    for params, name in ((tiny.params(), "net2"), (tiny.params(seed=1), "net1")):
        assert not torch.equal(weight, Learner(problem.train, params, name).net.classifier.weight)
    assert torch.equal(weight, Learner(problem.train, tiny.params(), "net1").net.classifier.weight)


def test_a_step_is_sgd_with_momentum_and_decay_of_every_parameter(learner: Learner, problem: Problem) -> None:
    parameters = dict(learner.net.named_parameters())
    expected, velocity = tiny.copied(parameters), dict[str, Tensor]()
    for _ in range(3):
        loss = some_loss(learner, problem)
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            gradient = gradient + 5e-4 * expected[name]
            velocity[name] = gradient if name not in velocity else 0.9 * velocity[name] + gradient
            expected[name] = expected[name] - 0.05 * velocity[name]
        learner.step(loss)
        for name, value in parameters.items():
            torch.testing.assert_close(value.detach(), expected[name])


def test_two_losses_that_are_accumulated_make_the_step_of_their_mean(problem: Problem) -> None:
    whole, parts = (Learner(problem.train, tiny.params(**{"training.accumulate": k}), "net1") for k in (1, 2))
    for learner in (whole, parts):
        learner.net.eval()  # so that both halves have the same statistics
    for _ in range(2):
        logits = whole(whole.views.plain(problem.train.images[:16]))
        whole.step(functional.cross_entropy(logits, problem.train.labels[:16]))
        for half in (slice(8), slice(8, 16)):
            logits = parts(parts.views.plain(problem.train.images[half]))
            parts.step(functional.cross_entropy(logits, problem.train.labels[half]))
    for name, value in whole.tensors().items():
        torch.testing.assert_close(parts.tensors()[name], value)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [1, 7, 96, 1000])
def test_prediction_is_in_order_in_evaluation_mode_and_leaves_no_trace(
    training: bool, size: int, learner: Learner, problem: Problem
) -> None:
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
def test_batches_in_one_pass_equal_separate_passes_and_leave_the_same_running_statistics(
    dtype: torch.dtype, tolerance: float, sizes: tuple[int, ...]
) -> None:
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
