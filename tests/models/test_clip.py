"""CLIP as a frozen encoder: what it sees, and what is said where it cannot be had."""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from nlkit.errors import NlkitError
from nlkit.models import photo as clip


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
    encode = clip.clip_features(str(tmp_path / "weights.bin"), mean, std, torch.device("cpu"))
    colour = torch.tensor([0.2, 0.6, 0.9])
    views = ((colour - torch.tensor(mean)) / torch.tensor(std))[None, :, None, None].expand(2, 3, 32, 32)
    expected = (colour - torch.tensor(clip.CLIP_MEAN)) / torch.tensor(clip.CLIP_STD)
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
            clip.clip_features(weights and str(weights), (0.5,) * 3, (0.5,) * 3, torch.device("cpu"))
