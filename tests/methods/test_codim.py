"""SimCLR, and CoDiM, which may start from it: DivideMix with its own parts switched off, and what each part does."""

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from recording import divide
from torch import Tensor, nn

from nlkit.methods import codim as codim_module
from nlkit.methods import simclr as simclr_module
from nlkit.methods.codim import CoDiM
from nlkit.methods.dividemix import Batch
from nlkit.methods.simclr import SimCLR


def codim(encoder: bool = False, **own: Any) -> CoDiM:
    """A method past its warm-up; 41 and 54 of 96 samples are labelled for the two networks."""
    data = tiny.problem().train
    if encoder:
        pretraining = tiny.method("simclr", data)
        tiny.train(pretraining, 0)
        data = replace(data, encoder=pretraining.shared_weights())
    method = tiny.method("codim", data, **own)
    divide(method, (41, 54))
    return method


def test_with_its_parts_switched_off_it_is_dividemix_bit_for_bit() -> None:
    data, off = tiny.problem(count=70).train, {"method.ssl_views": "weak", "method.lambda_c": 0, "method.clip": None}
    ours, theirs = (tiny.method("codim", data, **off, **{"method.penalty": True}), tiny.method("dividemix", data))
    for epoch in range(4):
        rows, splits = zip(*((tiny.train(method, epoch), method.split()) for method in (ours, theirs)), strict=True)
        assert rows[0] == rows[1]
        assert torch.equal(splits[0].losses, splits[1].losses) and torch.equal(splits[0].p_clean, splits[1].p_clean)
    found = {name.replace("encoder.", ""): value for name, value in ours.state_dict().items()}
    weights = {name: value for name, value in theirs.state_dict().items() if "momentum" not in name}
    assert all(torch.equal(found[name], value) for name, value in weights.items()) and len(weights) > 10


def test_networks_start_from_the_encoder_which_stays_with_classifiers_and_if_asked_projectors_of_their_own() -> None:
    method = codim(encoder=True)
    first, second = (net.net.state_dict() for net in method.nets)
    assert method.data.encoder is not None and len(method.data.encoder) == len(first) - 2
    for name, value in method.data.encoder.items():
        assert torch.equal(first[name], value) and torch.equal(second[name], value)
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    assert torch.equal(first["classifier.weight"], codim().nets[0].net.state_dict()["classifier.weight"])
    before = tiny.copied(method.data.encoder)
    tiny.train(method, 0, 1)
    assert tiny.same(method.data.encoder, before)
    kept, fresh = (codim(encoder=True, **{"method.projector": name}).nets[0].net for name in ("kept", "fresh"))
    for name, value in kept.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]) == (not name.startswith("projector"))


def test_the_gradient_of_the_warm_up_is_cut_and_later_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    norms, method = list[float](), codim(**{"method.clip": 0.01})
    weights, step = list(method.nets[0].net.parameters()), method.nets[0].optimiser.step

    def measured() -> None:
        norms.append(float(nn.utils.get_total_norm(w.grad for w in weights if w.grad is not None)))
        step()

    monkeypatch.setattr(method.nets[0].optimiser, "step", measured)
    tiny.train(method, 0)
    assert max(norms) <= 0.01 * (1 + 1e-4) and max(norms) > 0.0099
    norms.clear()
    tiny.train(method, 1)
    assert min(norms) > 0.0101


def one_step(method: CoDiM) -> dict[str, Any]:
    """The losses of one step of the first network, fixed in every random choice."""
    x, u = torch.arange(16), torch.arange(40, 56)
    net, peer = method.nets
    net.net.train()
    peer.net.eval()
    return method.losses(net, peer, Batch(x, u, torch.full((16,), 0.8), 0.7), tiny.stream(5))


@pytest.mark.parametrize(
    ("loss", "reached", "spared"), [("loss_c", "projector", "classifier"), ("loss_x", "classifier", "projector")]
)
def test_each_loss_reaches_the_encoder_and_its_own_head(loss: str, reached: str, spared: str) -> None:
    method = codim()
    one_step(method)[loss].backward()
    found = {name: weight.grad for name, weight in method.nets[0].net.named_parameters()}
    assert all(found[name] is None for name in found if name.startswith(spared))
    assert all(found[name] is not None for name in found if name.startswith((reached, "encoder")))
    assert float(found["encoder.features.0.weight"].abs().sum()) > 0  # type: ignore[union-attr]
    assert all(w.grad is None for w in method.nets[1].net.parameters())


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    terms = {"loss_x": torch.tensor(1.0), "loss_u": torch.tensor(2.0), "loss_reg": torch.tensor(4.0)}
    losses = terms | {"lambda_u": 0.5, "loss_c": torch.tensor(8.0)}
    assert float(codim(**{"method.lambda_c": 0.25, "method.lambda_r": 0.5}).total(losses)) == 1 + 1 + 2 + 2
    assert float(codim(**{"method.lambda_c": 0}).total(terms | {"lambda_u": 0.5})) == 1 + 1 + 4


def test_targets_come_from_weak_views_without_gradient_losses_from_strong(monkeypatch: pytest.MonkeyPatch) -> None:
    method = codim()
    strong, targets = (tiny.spied(monkeypatch, method, name) for name in ("strong", "targets"))
    mixed = tiny.spied(monkeypatch, codim_module, "mixmatch")
    embedded = tiny.spied(monkeypatch, method.nets[0], "embed")
    one_step(method)
    (_, x, u, refined, guess, share, *_), (x1, x2, u1, u2) = mixed[0][0], (view for _, view in strong)
    assert [x[0] is x1, x[1] is x2, u[0] is u1, u[1] is u2] == [True] * 4 and share == 0.7
    assert not refined.requires_grad and not guess.requires_grad
    weak = targets[0][0][2]
    assert not torch.equal(weak[0], x1) and not torch.equal(x1, x2)
    assert torch.equal(embedded[0][0][0], torch.cat([x1, u1, x2, u2]))


@pytest.mark.parametrize(
    ("settings", "draws", "passes"),
    [
        ({}, [4, 0], 6),
        ({"method.lambda_c": 0}, [4, 0], 5),
        ({"method.ssl_views": "weak"}, [0, 4], 6),
        ({"method.ssl_views": "weak", "method.lambda_c": 0}, [0, 0], 5),
        ({"method.contrast_strong": {"kind": "affine", "pad": 2}}, [4, 4], 6),
    ],
)
def test_a_step_draws_strong_views_where_used_and_its_batch_norm_counts_its_own_passes(
    settings: Any, draws: list[int], passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = codim(**settings)
    drawn = [tiny.spied(monkeypatch, method, name) for name in ("strong", "contrast_strong")]
    net, peer = (learner.net for learner in method.nets)
    before = tiny.copied(peer.state_dict())
    one_step(method)
    assert [len(calls) for calls in drawn] == draws
    assert [int(m.num_batches_tracked) for m in net.modules() if isinstance(m, nn.BatchNorm2d)] == [passes]
    assert tiny.same(peer.state_dict(), before)


def test_variants_differ_in_the_contrastive_loss_alone() -> None:
    settings = [{"variant": "self"}, {"variant": "sup"}, {"variant": "sup_pseudo", "tau_p": 0.0}]
    settings.append(settings[-1] | {"weighted": True})
    methods = [codim(**{f"method.{key}": value for key, value in one.items()}) for one in settings]
    with torch.no_grad():
        rows = [one_step(method) for method in methods]
    for name in ("loss_x", "loss_u", "loss_reg"):
        assert len({float(row[name]) for row in rows}) == 1
    assert len({float(row["loss_c"]) for row in rows}) == 4


def test_recorded_epochs_have_guesses_and_places_and_the_last_of_codim_where_it_began() -> None:
    places, starts = ({f"{name}_{axis}" for axis in range(1, 9)} for name in ("map", "start"))
    guesses, own = places | {"guess", "sure"}, {"training.snapshots": [1]}
    for method, last in ((codim(**own), guesses | starts), (simclr(**own), places)):
        kinds = [set(method.split().samples) for epoch in range(4) if tiny.train(method, epoch)]
        assert kinds == [last - starts, set(), set(), last]
    assert len(method.split().epoch["neighbours"]) == 8 * 6


def simclr(count: int = 70, labels: Tensor | None = None, **own: Any) -> SimCLR:
    data = tiny.problem(count=count).train
    return tiny.method("simclr", data if labels is None else replace(data, labels=labels), **own)


def test_labels_change_no_weight_and_everything_but_the_classifier_is_trained_and_shared() -> None:
    first, second = simclr(), simclr(labels=torch.randint(3, (70,)))
    before = tiny.copied(first.learner.net.state_dict())
    for method in (first, second):
        tiny.train(method, 0, 1, split=True)
    assert tiny.same(first.state_dict(), second.state_dict())
    assert not torch.equal(first.split().p_clean, second.split().p_clean)
    same = {name for name, value in first.learner.net.state_dict().items() if torch.equal(before[name], value)}
    assert same == {"classifier.weight", "classifier.bias"} == before.keys() - first.shared_weights().keys()


def test_a_step_contrasts_two_views_of_a_full_batch_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    method, passes = simclr(), list[Tensor]()
    method.learner.net.encoder.register_forward_hook(lambda module, inputs, output: passes.append(inputs[0]))
    losses = tiny.spied(monkeypatch, simclr_module, "nt_xent")
    (row,) = tiny.train(method, 0)
    assert row["loss"] == pytest.approx(sum(float(value.detach()) for _, value in losses) / 4)
    assert [len(inputs) for inputs in passes] == [32] * 4  # 70 images: the last 6 are left out
    assert all(not torch.equal(*inputs.chunk(2)) for inputs in passes)
    for (first, second, tau), _ in losses:
        assert first.shape == second.shape == (16, 8) and tau == 0.5
        torch.testing.assert_close(torch.cat([first, second]).norm(dim=1), torch.ones(32))
    still = {"kind": "affine", "pad": 0, "rotate": 0.0, "zoom": 0.0, "erase": 0.0}
    tiny.train(simclr(**{"method.strong": still}), 0)
    torch.testing.assert_close(*losses[-1][0][:2])  # two views of one image, which do not move, are partners


def test_the_vote_is_that_of_the_nearest_other_images_smoothed_by_one_count_a_class() -> None:
    method = simclr()
    tiny.train(method, 0)
    z, labels = method.learner.features(method.data.images), method.data.labels
    nearest = torch.cdist(z, z).fill_diagonal_(torch.inf).topk(7, largest=False).indices
    votes = torch.nn.functional.one_hot(labels[nearest], 3).sum(dim=1)
    split, mine = method.split(), labels[:, None]
    torch.testing.assert_close(split.p_clean[0], votes.gather(1, mine)[:, 0] / 7)
    torch.testing.assert_close(split.losses[0], -((votes.gather(1, mine)[:, 0] + 1) / 10).log())
    shares = method.logits(method.data.images.flip(1))[0].exp() * 10 - 1
    torch.testing.assert_close(shares, shares.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(shares.sum(dim=1), torch.full((70,), 7.0))
