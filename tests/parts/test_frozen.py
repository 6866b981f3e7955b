"""Frozen encoders: what they make of images and views, and what they say when something is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit import NlkitError
from nlkit.data.problem import Problem
from nlkit.methods.lra_diffusion import LRADiffusion
from nlkit.models import build_model, clip
from nlkit.models.heads import ContrastiveNet
from nlkit.params import Params, make_params
from nlkit.parts import frozen
from nlkit.training import encoders
from nlkit.training import loop as training

ROOT = Path(__file__).parents[2]
FILE = {"method.query": "cached", "method.bank": "plain"}


@pytest.fixture
def problem(tiny_problem: Callable[..., Problem]) -> Problem:
    return tiny_problem(count=40)


def encoder(problem: Problem, params: Params) -> frozen.FrozenEncoder:
    return frozen.frozen_encoder(problem.train, params)


def test_pixels_are_the_normalised_inputs(problem: Problem, tiny_params: Callable[..., Params]) -> None:
    one = encoder(problem, tiny_params("lra_diffusion"))
    expected = ((problem.train.images / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    torch.testing.assert_close(one.images(problem.train.images), expected.flatten(1))
    torch.testing.assert_close(one.views(expected), expected.flatten(1))
    assert one.features == 64


def test_the_same_images_are_encoded_once(problem: Problem, tiny_params: Callable[..., Params]) -> None:
    calls: list[int] = []

    def encode(views: Tensor) -> Tensor:
        calls.append(len(views))
        return views.flatten(1)

    one = frozen.NetworkEncoder(encode, problem.train, tiny_params("lra_diffusion", **{"training.eval_batch_size": 30}))
    images = problem.train.images
    first = one.images(images)
    assert torch.equal(one.images(images.clone()), first) and calls == [2, 30, 10]
    assert torch.equal(one.images(images.flip(0)), first.flip(0))


def test_keys_tell_images_apart_and_depend_on_every_byte() -> None:
    image = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    others = image[:, :16].repeat(1536, 1, 1, 1)
    others.view(1536, -1)[torch.arange(1536), torch.arange(1536)] = 255
    keys = frozen.image_keys(torch.cat([image[:, :16], others]))
    assert len(set(keys.tolist())) == 1537
    assert torch.equal(
        keys, torch.cat([frozen.image_keys(part) for part in torch.cat([image[:, :16], others]).split(1000)])
    )


def write_features(folder: Path, problem: Problem, width: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {"train": rng.normal(size=(len(problem.train), width)), "test": rng.normal(size=(30, width))}
    np.save(folder / "train.npy", made["train"].astype(np.float32))
    np.savez(folder / "test.npz", features=made["test"], other=np.zeros(3))
    return made


def file_params(make: Callable[..., Params], folder: Path, **own: Any) -> Params:
    paths = {"kind": "file", "train": str(folder / "train.npy"), "test": str(folder / "test.npz")}
    return make("lra_diffusion", **FILE, **{"method.encoder": paths, **own})


def test_a_file_gives_each_image_its_row_in_any_order(
    problem: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    made, params = write_features(tmp_path, problem), file_params(tiny_params, tmp_path)
    table = encoders.from_files(params, problem, tmp_path)
    assert table is not None
    given = replace(problem, train=replace(problem.train, encoder=table.tensors))
    one = encoder(given, params)
    order = torch.randperm(40)
    np.testing.assert_allclose(one.images(problem.train.images[order]), made["train"][order], rtol=1e-6)
    np.testing.assert_allclose(one.images(problem.tests["test"][0]), made["test"], rtol=1e-6)
    assert one.features == 5
    method = LRADiffusion(given.train, params)
    method.train_epoch(0, lambda share: None)
    assert method.logits(problem.tests["test"][0])[0].shape == (30, 3)
    with pytest.raises(NlkitError, match="1 of 2 images have no features"):
        one.images(torch.cat([problem.train.images[:1], 255 - problem.train.images[:1]]))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((39, 5), np.float32), "39 rows; there are 40 images"),
        (np.zeros((41, 5), np.float32), "41 rows; there are 40 images"),
        (np.zeros((40, 6), np.float32), "6 and 5 columns"),
        (np.zeros(40, np.float32), r"shape \(40,\)"),
        (np.zeros((40, 5), np.int64), "int64"),
        (np.full((40, 5), np.nan, np.float32), "row 0 is not finite"),
        (np.full((40, 5), 1e300), "row 0 is not finite"),
    ],
)
def test_a_file_of_features_that_does_not_fit_is_refused_in_one_line(
    array: np.ndarray, words: str, problem: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    write_features(tmp_path, problem)
    np.save(tmp_path / "train.npy", array)
    with pytest.raises(NlkitError, match=words) as caught:
        encoders.from_files(file_params(tiny_params, tmp_path), problem, tmp_path)
    assert str(caught.value).startswith("key 'method.encoder") and "\n" not in str(caught.value)


def test_a_missing_file_of_features_is_named(
    problem: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    with pytest.raises(NlkitError, match=r"key 'method.encoder.train': .*train.npy: no such file"):
        encoders.from_files(file_params(tiny_params, tmp_path), problem, tmp_path)
    (tmp_path / "train.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(NlkitError, match=r"key 'method.encoder.train': .*not a .npy array"):
        encoders.from_files(file_params(tiny_params, tmp_path), problem, tmp_path)
    changed = file_params(tiny_params, tmp_path, **{"method.encoder.train": "x.csv"})
    with pytest.raises(NlkitError, match=r"'\.csv' is unknown"):
        encoders.from_files(changed, problem, tmp_path)


def simclr_params(make: Callable[..., Params]) -> Params:
    reference = {"kind": "simclr", "params": "params/simclr/digits.yaml"}
    return make("lra_diffusion", **{"method.encoder": reference})


def test_a_simclr_run_gives_unit_features_of_its_encoder(problem: Problem, tiny_params: Callable[..., Params]) -> None:
    params = simclr_params(tiny_params)
    referred = encoders.referred(params)
    assert referred is not None and referred.paper == "simclr"
    body = build_model(referred.model, 1, 3, seed=5)
    net = ContrastiveNet(body, referred.method.dim, referred.method.hidden).eval()
    given = replace(problem, train=replace(problem.train, encoder=net.state_dict()))
    one = encoder(given, params)
    views = ((problem.train.images / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    expected = functional.normalize(net.encoder(views), dim=1)  # type: ignore[operator]
    torch.testing.assert_close(one.images(problem.train.images), expected)
    assert not one.views(views).requires_grad and one.features == expected.shape[1]


def test_a_simclr_run_of_other_images_or_without_weights_is_refused(
    problem: Problem, tiny_params: Callable[..., Params]
) -> None:
    with pytest.raises(NlkitError, match=r"nlkit\.run provides it"):
        encoder(problem, simclr_params(tiny_params))
    content = simclr_params(tiny_params).model_dump(mode="json")
    with pytest.raises(NlkitError, match=r"data.name is digits there and cifar10 here"):
        encoders.referred(make_params(content, {"data.name": "cifar10"}, source="tiny"))
    with pytest.raises(NlkitError, match=r"key 'method.encoder.params' is 'nowhere.yaml'"):
        encoders.referred(make_params(content, {"method.encoder.params": "nowhere.yaml"}, source="tiny"))


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
    asked: list[tuple[str, str]] = []

    def create_model(name: str, pretrained: str, **rest: Any) -> nn.Module:
        asked.append((name, pretrained))
        return FakeClip()

    monkeypatch.setitem(sys.modules, "open_clip", SimpleNamespace(create_model=create_model))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    encode = clip.clip_features(str(tmp_path / "weights.bin"), mean, std, torch.device("cpu"))
    colour = torch.tensor([0.2, 0.6, 0.9])
    views = ((colour - torch.tensor(mean)) / torch.tensor(std))[None, :, None, None].expand(2, 3, 32, 32)
    expected = (colour - torch.tensor(clip.MEAN)) / torch.tensor(clip.STD)
    torch.testing.assert_close(encode(views), expected.expand(2, -1), atol=1e-5, rtol=0)
    assert asked == [("ViT-L-14", str(tmp_path / "weights.bin"))] and not encode(views).requires_grad


def test_clip_crops_the_centre_of_what_is_not_square() -> None:
    pixels = torch.linspace(0, 1, 448).expand(1, 3, 224, 448)
    seen = clip.preprocess(pixels) * torch.tensor(clip.STD)[:, None, None] + torch.tensor(clip.MEAN)[:, None, None]
    torch.testing.assert_close(seen, pixels[..., 112:336], atol=1e-5, rtol=0)
    assert clip.preprocess(torch.rand(2, 3, 32, 48)).shape == (2, 3, 224, 224)


def test_without_clip_or_its_weights_one_line_says_what_to_place_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ((0.5,) * 3, (0.5,) * 3, torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(NlkitError, match="open_clip is not installed; install open_clip_torch"):
        clip.clip_features(None, *arguments)

    def damaged(*names: str, **rest: Any) -> nn.Module:
        raise RuntimeError("not\na pickle")

    monkeypatch.setitem(sys.modules, "open_clip", SimpleNamespace(create_model=damaged))
    for weights, words in ((None, "None, which is no file"), (str(tmp_path / "no.pt"), "no.pt', which is no file")):
        with pytest.raises(NlkitError, match=words):
            clip.clip_features(weights, *arguments)
    (tmp_path / "bad.pt").touch()
    with pytest.raises(NlkitError, match=r"bad.pt: open_clip cannot read it .*\(not a pickle\)"):
        clip.clip_features(str(tmp_path / "bad.pt"), *arguments)


def test_a_checkpoint_belongs_to_its_features(
    problem: Problem, tiny_params: Callable[..., Params], tmp_path: Path
) -> None:
    params = file_params(tiny_params, tmp_path, **{"training.epochs": 1})
    for seed in (0, 1):
        write_features(tmp_path, problem)
        if seed:
            np.save(tmp_path / "train.npy", np.ones((40, 5), np.float32))
        table = encoders.from_files(params, problem, tmp_path)
        assert table is not None
        given = replace(problem, train=replace(problem.train, encoder=table.tensors))
        if seed:
            with pytest.raises(NlkitError, match="unfinished run with other encoder"):
                training.fit(given, params, tmp_path / "run", progress=False)
        else:
            training.fit(given, params, tmp_path / "run", progress=False)
