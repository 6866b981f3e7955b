"""Networks: sizes, gradients, first weights, and blocks and the noise predictor by their formulas.

And those for photographs, CLIP as a frozen encoder among them: scales, inputs, and weights, good and bad.
"""

import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import safetensors.torch
import tiny
import torch
from fuzzing import Call, refused, watched
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import WeightsEnum, resnet18

from nlkit.errors import NlkitError
from nlkit.models import build_model, photo
from nlkit.models.networks import Gated, LabelDenoiser, PooledBlock
from nlkit.params.sections import ModelParams, PhotoModelParams

NAMES = ["small_cnn", "pooled_resnet", "preact_resnet18", "resnet34", "resnet50"]


def make(name: str, channels: int = 3, classes: int = 10, width: int = 4, seed: int = 0, weights: Any = None) -> Any:
    params, own = (ModelParams, {"width": width}) if name in NAMES else (PhotoModelParams, {"weights": weights})
    return build_model(params(name=name, **own), channels, classes, seed)  # type: ignore[arg-type]


def randomised(net: nn.Module) -> nn.Module:
    """The network in evaluation mode with batch norms that do something."""
    stream = tiny.stream(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert values is not None
                values.copy_(0.5 + torch.rand(values.shape, generator=stream))
    return net.eval()


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("preact_resnet18", 10, 11_171_274), ("preact_resnet18", 100, 11_217_444),
        ("resnet34", 10, 21_282_122), ("resnet50", 10, 23_520_842),
        ("inception_resnet_v2", 50, 54_383_314),  # in the official file of DivideMix; the others are documented
        ("torchvision_resnet18", 1000, 11_689_512), ("torchvision_resnet34", 1000, 21_797_672),
        ("torchvision_resnet50", 1000, 25_557_032),
    ],
)  # fmt: skip
def test_networks_have_as_many_parameters_as_published(name: str, classes: int, expected: int) -> None:
    with torch.device("meta"):  # where weights have shapes and no values
        assert sum(weight.numel() for weight in make(name, classes=classes, width=64).parameters()) == expected


@pytest.mark.parametrize("size", [8, 9, 28, 32])
def test_the_small_network_accepts_images_of_any_size_from_8_up(size: int) -> None:
    assert make("small_cnn", channels=1, classes=5)(torch.randn(2, 1, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_a_row_an_image_and_every_parameter_a_gradient(name: str) -> None:
    for batch, channels, classes in ((1, 3, 10), (3, 1, 2)):
        net = make(name, channels, classes).eval()
        logits = net(torch.randn(batch, channels, 32, 32))
        assert logits.shape == (batch, classes)
    net.train()(torch.randn(4, 1, 32, 32)).square().sum().backward()
    missing = [key for key, value in net.named_parameters() if value.grad is None or not bool(value.grad.any())]
    assert missing == []


@pytest.mark.parametrize("name", [*NAMES, "torchvision_resnet18"])
def test_initial_weights_depend_on_the_seed_only(name: str) -> None:
    before = torch.get_rng_state()
    first = make(name, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second, other = make(name, seed=5).state_dict(), make(name, seed=6).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_the_preactivation_network_pools_without_a_final_norm() -> None:
    net = randomised(make("preact_resnet18"))
    x = torch.randn(2, 3, 32, 32)
    features, sizes = net.stem(x), []
    for block in net.blocks:  # a = relu(bn1(x)); conv2(relu(bn2(conv1(a)))) + shortcut(a)
        a, stride = block.bn1(features).clamp_min(0), block.conv1.stride
        h = block.bn2(functional.conv2d(a, block.conv1.weight, stride=stride, padding=1)).clamp_min(0)
        same = isinstance(block.shortcut, nn.Identity)
        short = a if same else functional.conv2d(a, block.shortcut.weight, stride=stride)
        features = functional.conv2d(h, block.conv2.weight, padding=1) + short
        sizes.append(tuple(features.shape[1:]))
    assert sizes == [(w, s, s) for w, s in ((4, 32), (8, 16), (16, 8), (32, 4)) for _ in range(2)]
    pooled = functional.avg_pool2d(features, 4).flatten(1)
    torch.testing.assert_close(net(x), net.classifier(pooled), atol=1e-4, rtol=1e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in net.modules()) == 1 + 8 * 2


def test_a_pooled_block_adds_its_second_convolution_to_the_pooled_first() -> None:
    block = randomised(PooledBlock(3, 5))
    assert isinstance(block, PooledBlock)
    x = torch.randn(2, 3, 8, 8)
    first = functional.conv2d(x, block.conv1.weight, padding=1).unflatten(3, (4, 2)).unflatten(2, (4, 2)).amax((3, 5))
    a = block.bn1(first).clamp_min(0)
    second = block.bn2(functional.conv2d(a, block.conv2.weight, padding=1)).clamp_min(0)
    torch.testing.assert_close(block(x), a + second)


B, C, D, H, T = 12, 3, 5, 8, 20


def test_the_network_is_that_of_the_equations_and_every_weight_gets_a_gradient() -> None:
    denoiser, t, stream = LabelDenoiser(C, D, H, T), torch.arange(B), tiny.stream(1)
    embedding, y, z = (torch.randn(B, width, generator=stream) for width in (H, C, D))
    found = denoiser(embedding, y, t, z)
    norm = partial(functional.batch_norm, running_mean=None, running_var=None, training=True)
    a = torch.cat([y, z], dim=1)
    for layer in (denoiser.first, denoiser.second, denoiser.third):
        a = norm(embedding) * a if layer is denoiser.second else a
        gate = torch.stack([layer.gate[time] for time in t.tolist()])
        a = functional.softplus(norm(gate * (a @ layer.linear.weight.T + layer.linear.bias)))
    torch.testing.assert_close(found, a @ denoiser.last.weight.T + denoiser.last.bias, atol=1e-5, rtol=1e-4)
    found.square().sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in denoiser.parameters())


def test_the_gates_start_uniform_between_zero_and_one_with_a_row_for_each_time() -> None:
    gate = Gated(2, 500, T).gate.detach()
    assert gate.shape == (T + 1, 500) and float(gate.min()) >= 0 and float(gate.max()) <= 1
    assert float(gate.mean()) == pytest.approx(0.5, abs=0.01) and float(gate.var()) == pytest.approx(1 / 12, abs=0.005)


def test_residual_scales_and_batch_norms_are_those_of_the_official_code() -> None:
    body = make("inception_resnet_v2").body
    assert [block.scale for block in body.repeat] == [0.17] * 10
    assert [block.scale for block in body.repeat_1] == [0.10] * 20
    assert [block.scale for block in body.repeat_2] == [0.20] * 9
    assert all(block.relu is not None for block in body.repeat_2)
    assert (body.block8.scale, body.block8.relu) == (1.0, None)
    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)} and len(norms) == 204
    last = body.conv2d_7b.conv
    assert (last.in_channels, last.out_channels) == (2080, 1536)
    assert not any(isinstance(module, nn.Dropout) and module.p for module in body.modules())


@pytest.mark.parametrize("name", ["inception_resnet_v2", *(f"torchvision_resnet{depth}" for depth in (18, 34, 50))])
@torch.no_grad()
def test_logits_have_one_row_an_image_and_one_column_a_class(name: str) -> None:
    net = make(name, classes=7).eval()
    assert net(torch.randn(2, 3, 96, 96)).shape == (2, 7)
    refused(lambda: make(name, channels=1), "3 channels, not 1")
    if name == "inception_resnet_v2":  # at the official size the last map is eight by eight
        assert net.body.forward_features(torch.zeros(1, 3, 299, 299)).shape == (1, 1536, 8, 8)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_two_networks_from_a_file_share_the_body_and_differ_in_the_head(tmp_path: Path, suffix: str) -> None:
    path, published = tmp_path / f"resnet18{suffix}", resnet18().state_dict()
    if suffix == ".pth":
        torch.save(published, path)
    else:
        safetensors.torch.save_file(published, path)
    first, second = (make("torchvision_resnet18", seed=seed, weights=str(path)) for seed in (1, 2))
    assert torch.equal(first.body.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])
    bodies = zip(first.body.parameters(), second.body.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in bodies)
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_unusable_weights_get_one_line_that_names_the_key_and_no_pickle_among_them_runs_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "given.pth"

    def said(weights: object, name: str = "torchvision_resnet18", match: str | None = None) -> str:
        message = refused(lambda: make(name, weights=str(weights)), match)
        assert message.startswith("key 'model.weights' is ")
        return message

    assert "cannot read" in said(path)
    os.mkfifo(tmp_path / "pipe.pth")
    with watched():
        assert "is not a regular file" in said(tmp_path / "pipe.pth")
    assert "torchvision has no weights of inception_resnet_v2" in said("imagenet", "inception_resnet_v2")
    monkeypatch.setattr(WeightsEnum, "get_state_dict", Mock(side_effect=OSError("no network")))
    said("imagenet", match=r"download https://.*resnet18.*\.pth to .*checkpoints.*, or name a file")
    path.write_bytes(b"<html>not found</html>")
    assert "not a file of weights" in said(path)
    for content, words in (
        (make("torchvision_resnet34").body.state_dict(), "not the weights of torchvision_resnet18"),
        ([1, 2], "does not hold tensors"),
        ({"fc.weight": Call(Path.touch, tmp_path / "ran")}, "not a file of weights"),
    ):
        torch.save(content, path)
        assert words in said(path)
    assert not (tmp_path / "ran").exists()


class FakeClip(nn.Module):
    """Takes CLIP's inputs and returns three numbers an image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def encode_image(self, pixels: Tensor) -> Tensor:
        assert pixels.shape[1:] == (3, 224, 224) and not self.training
        return self.weight * pixels.mean(dim=(2, 3))


def test_clip_sees_the_pixels_in_its_own_normalisation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    create_model = Mock(return_value=FakeClip())
    monkeypatch.setitem(sys.modules, "open_clip", SimpleNamespace(create_model=create_model))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    encode = photo.clip_features(str(tmp_path / "weights.bin"), mean, std, torch.device("cpu"))
    colour = torch.tensor([0.2, 0.6, 0.9])
    views = ((colour - torch.tensor(mean)) / torch.tensor(std))[None, :, None, None].expand(2, 3, 32, 32)
    expected = (colour - torch.tensor(photo.CLIP_MEAN)) / torch.tensor(photo.CLIP_STD)
    torch.testing.assert_close(encode(views), expected.expand(2, -1), atol=1e-5, rtol=0)
    assert not encode(views).requires_grad
    create_model.assert_called_once_with("ViT-L-14", pretrained=str(tmp_path / "weights.bin"), force_quick_gelu=True)


def test_without_clip_or_its_weights_a_line_says_what_to_put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").touch()
    package = SimpleNamespace(create_model=Mock(side_effect=RuntimeError("not\na pickle")))
    for given, weights, words in (
        (None, None, "open_clip is not installed; install open_clip_torch"),
        (package, None, "None, which is no file"),
        (package, tmp_path / "no.pt", "no.pt', which is no file"),
        (package, tmp_path / "bad.pt", r"bad.pt: open_clip cannot read it .*\(not a pickle\)"),
    ):
        monkeypatch.setitem(sys.modules, "open_clip", given)
        with pytest.raises(NlkitError, match=words):
            photo.clip_features(weights and str(weights), (0.5,) * 3, (0.5,) * 3, torch.device("cpu"))
