"""Frozen encoders: what they make of images and views, and what they say when something is missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from fuzzing import refused
from torch import Tensor
from torch.nn import functional

from nlkit import NlkitError
from nlkit.data.problem import Problem
from nlkit.models import build_model
from nlkit.params import Params
from nlkit.parts import frozen
from nlkit.training import encoders

PRETRAINING = Path(__file__).parents[2] / "params/simclr/digits.yaml"
FILE = {"method.query": "cached", "method.bank": "plain"}


@pytest.fixture
def problem() -> Problem:
    return tiny.problem(count=40)


def encoder(problem: Problem, params: Params, tensors: dict[str, Tensor] | None = None) -> Any:
    return frozen.frozen_encoder(params.method.encoder, replace(problem.train, encoder=tensors), params)


def inputs(problem: Problem) -> Tensor:
    return ((problem.train.images / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)


def test_the_same_images_are_encoded_once(problem: Problem) -> None:
    calls: list[int] = []

    def encode(views: Tensor) -> Tensor:
        calls.append(len(views))
        return views.flatten(1)

    one = frozen.NetworkEncoder(encode, problem.train, tiny.params("lra_diffusion", **{"training.eval_batch_size": 30}))
    images = problem.train.images
    first = one.images(images)
    assert torch.equal(one.images(images.clone()), first) and calls == [2, 30, 10]
    assert torch.equal(one.images(images.flip(0)), first.flip(0))


def test_keys_tell_images_apart_and_depend_on_every_byte() -> None:
    images = torch.zeros(1537, 16, 32, 3, dtype=torch.uint8)
    images.view(1537, -1)[torch.arange(1536), torch.arange(1536)] = 255
    keys = frozen.image_keys(images)
    assert len(set(keys.tolist())) == 1537
    assert torch.equal(keys, torch.cat([frozen.image_keys(part) for part in images.split(1000)]))


def write_features(folder: Path, problem: Problem, width: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {"train": rng.normal(size=(len(problem.train), width)), "test": rng.normal(size=(30, width))}
    np.save(folder / "train.npy", made["train"].astype(np.float32))
    np.savez(folder / "test.npz", features=made["test"], other=np.zeros(3))
    return made


def file_params(folder: Path, **own: Any) -> Params:
    paths = {"kind": "file", "train": str(folder / "train.npy"), "test": str(folder / "test.npz")}
    return tiny.params("lra_diffusion", **FILE, **{"method.encoder": paths, **own})


def test_a_file_gives_each_image_its_row_in_any_order(problem: Problem, tmp_path: Path) -> None:
    made, params = write_features(tmp_path, problem), file_params(tmp_path)
    one = encoder(problem, params, params.method.given_tensors(problem, tmp_path, cut=False))
    order = torch.randperm(40)
    np.testing.assert_allclose(one.images(problem.train.images[order]), made["train"][order], rtol=1e-6)
    np.testing.assert_allclose(one.images(problem.tests["test"][0]), made["test"], rtol=1e-6)
    assert one.features == 5
    with pytest.raises(NlkitError, match="1 of 2 images have no features"):
        one.images(torch.cat([problem.train.images[:1], 255 - problem.train.images[:1]]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((39, 5), np.float32), r"key 'method\.encoder.*39 rows; there are 40 images"),
        (np.zeros((41, 5), np.float32), r"key 'method\.encoder.*41 rows; there are 40 images"),
        (np.zeros((40, 6), np.float32), r"key 'method\.encoder.*6 and 5 columns"),
        (np.full((40, 5), np.nan, np.float32), r"key 'method\.encoder.*row 0 is not finite"),
        (b"\x93NUMPY damaged", r"key 'method\.encoder\.train': .*not a .npy array"),
        (None, r"key 'method\.encoder\.train': .*train.npy: no such file"),
    ],
)
def test_features_that_do_not_fit_are_refused(content: Any, words: str, problem: Problem, tmp_path: Path) -> None:
    write_features(tmp_path, problem)
    (tmp_path / "train.npy").unlink()
    if isinstance(content, bytes):
        (tmp_path / "train.npy").write_bytes(content)
    elif content is not None:
        np.save(tmp_path / "train.npy", content)
    refused(lambda: file_params(tmp_path).method.given_tensors(problem, tmp_path, cut=False), f"^{words}")


def simclr_params() -> Params:
    reference = {"kind": "simclr", "params": str(PRETRAINING)}
    return tiny.params("lra_diffusion", **{"method.encoder": reference})


def test_a_simclr_run_gives_unit_features_of_its_encoder(problem: Problem) -> None:
    params = simclr_params()
    referred = encoders.referred(params)
    assert referred is not None and referred.paper == "simclr"
    net = build_model(referred.model, 1, 3, seed=5).eval()
    net.classifier = torch.nn.Identity()
    one = encoder(problem, params, {f"encoder.{name}": value for name, value in net.state_dict().items()})
    expected = functional.normalize(net(inputs(problem)), dim=1)
    torch.testing.assert_close(one.images(problem.train.images), expected)
    assert not one.views(inputs(problem)).requires_grad and one.features == expected.shape[1]


def test_a_simclr_run_without_weights_or_parameters_is_refused(problem: Problem) -> None:
    refused(lambda: encoder(problem, simclr_params()), r"nlkit\.run provides it")
    nowhere = tiny.params("lra_diffusion", **{"method.encoder": {"kind": "simclr", "params": "nowhere.yaml"}})
    refused(lambda: encoders.referred(nowhere), "key 'method.encoder.params' is 'nowhere.yaml'")
