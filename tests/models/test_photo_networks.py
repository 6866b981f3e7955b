"""Networks for photographs, CLIP as a frozen encoder among them: scales, inputs, and weights, good and bad."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import safetensors.torch
import torch
from fuzzing import Call, refused, watched
from torch import Tensor, nn
from torchvision.models import WeightsEnum, resnet18

from nlkit.errors import NlkitError
from nlkit.models import build_model, photo
from nlkit.params.sections import PhotoModelParams

RESNETS = ["torchvision_resnet18", "torchvision_resnet34", "torchvision_resnet50"]


def make(name: str, classes: int = 50, weights: str | None = None, seed: int = 0) -> Any:
    return build_model(PhotoModelParams(name=name, weights=weights), 3, classes, seed)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(("name", "size"), [("inception_resnet_v2", 96), *((name, 64) for name in RESNETS)])
@torch.no_grad()
def test_logits_have_one_row_an_image_and_one_column_a_class(name: str, size: int) -> None:
    net = make(name, 7).eval()
    assert net(torch.randn(2, 3, size, size)).shape == (2, 7)
    if name == "inception_resnet_v2":  # at the official size the last map is eight by eight
        assert net.body.forward_features(torch.zeros(1, 3, 299, 299)).shape == (1, 1536, 8, 8)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_two_networks_from_a_file_share_the_body_and_differ_in_the_head(tmp_path: Path, suffix: str) -> None:
    path, published = tmp_path / f"resnet18{suffix}", resnet18().state_dict()
    if suffix == ".pth":
        torch.save(published, path)
    else:
        safetensors.torch.save_file(published, path)
    first, second = (make("torchvision_resnet18", 5, str(path), seed) for seed in (1, 2))
    assert torch.equal(first.body.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])
    bodies = zip(first.body.parameters(), second.body.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in bodies)
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_unusable_weights_get_one_line_that_names_the_key_and_no_pickle_among_them_runs_code(tmp_path: Path) -> None:
    path = tmp_path / "given.pth"

    def said(weights: object, name: str = "torchvision_resnet18") -> str:
        message = refused(lambda: make(name, 5, str(weights)))
        assert message.startswith("key 'model.weights' is ")
        return message

    assert "cannot read" in said(path)
    os.mkfifo(tmp_path / "pipe.pth")
    with watched():
        assert "is not a regular file" in said(tmp_path / "pipe.pth")
    assert "torchvision has no weights of inception_resnet_v2" in said("imagenet", "inception_resnet_v2")
    path.write_bytes(b"<html>not found</html>")
    assert "not a file of weights" in said(path)
    for content, words in (
        (make("torchvision_resnet34", 5).body.state_dict(), "not the weights of torchvision_resnet18"),
        ([1, 2], "does not hold tensors"),
        ({"fc.weight": Call(Path.touch, tmp_path / "ran")}, "not a file of weights"),
    ):
        torch.save(content, path)
        assert words in said(path)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_tell_where_to_put_them_and_photos_have_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", Mock(side_effect=OSError("no network")))
    with pytest.raises(NlkitError, match=r"download https://.*resnet18.*\.pth to .*checkpoints.*, or name a file"):
        make("torchvision_resnet18", 5, "imagenet")
    refused(lambda: build_model(PhotoModelParams(name="torchvision_resnet18"), 1, 5, 0), "3 channels, not 1")


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
