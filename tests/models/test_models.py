"""Networks: sizes, gradients, first weights, and blocks and the noise predictor by their formulas."""

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit.models import build_model
from nlkit.models.label_denoiser import Gated, LabelDenoiser
from nlkit.models.networks import PooledBlock, PreActBlock
from nlkit.params.sections import ModelParams, PhotoModelParams

NAMES = ["small_cnn", "pooled_resnet", "preact_resnet18", "resnet34", "resnet50"]


def make(name: str, channels: int = 3, classes: int = 10, width: int = 4, seed: int = 0) -> nn.Module:
    params: Any = ModelParams(name=name, width=width) if name in NAMES else PhotoModelParams(name=name)  # type: ignore[arg-type]
    return build_model(params, channels, classes, seed)


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


def block_by_formula(block: PreActBlock, x: Tensor) -> Tensor:
    """a = relu(bn1(x)); conv2(relu(bn2(conv1(a)))) + shortcut(a), from the tensors of the block."""

    def norm(layer: nn.BatchNorm2d, values: Tensor) -> Tensor:
        scale = layer.weight / (layer.running_var + 1e-5).sqrt()
        centred = values - layer.running_mean[:, None, None]
        return (centred * scale[:, None, None] + layer.bias[:, None, None]).clamp_min(0)

    a, stride = norm(block.bn1, x), block.conv1.stride
    h = functional.conv2d(a, block.conv1.weight, stride=stride, padding=1)
    h = functional.conv2d(norm(block.bn2, h), block.conv2.weight, padding=1)
    if isinstance(block.shortcut, nn.Identity):
        return h + a
    return h + functional.conv2d(a, block.shortcut.weight, stride=stride)


def test_the_preactivation_network_pools_without_a_final_norm() -> None:
    net = randomised(make("preact_resnet18"))
    x = torch.randn(2, 3, 32, 32)
    features, sizes = net.stem(x), []
    for block in net.blocks:
        features = block_by_formula(block, features)
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

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + 1e-5).sqrt()

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
