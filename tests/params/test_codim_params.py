"""The parameter files of CoDiM and of pre-training agree with each other, and impossible values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlkit import NlkitError, load_params
from nlkit.params.codim import CoDiMParams
from nlkit.params.dividemix import DivideMixParams
from nlkit.training import encoders

PARAMS = Path(__file__).parents[2] / "params"
CELLS = sorted((PARAMS / "codim").glob("*.yaml"))
DIGITS, CIFAR = PARAMS / "codim/digits-sym-50.yaml", PARAMS / "codim/cifar10-sym-50.yaml"


def method_of(path: Path) -> CoDiMParams:
    method = load_params(path).method
    assert isinstance(method, CoDiMParams)
    return method


def test_every_cell_of_the_book_has_a_file() -> None:
    noises = ("sym-20", "sym-50", "sym-80", "asym-40")
    cells = {f"digits-{noise}{variant}" for noise in noises for variant in ("", "-sup")}
    cells |= {f"digits-sym-{rate}-{part}" for rate in (50, 80) for part in ("no-ctr", "weak")}
    cells |= {f"{data}-sym-{rate}" for data in ("cifar10", "cifar100") for rate in (20, 50, 80, 90)}
    cells |= {f"cifar10n-{labels}" for labels in ("aggregate", "random1", "random2", "random3", "worst")}
    cells |= {"cifar10-asym-40", "cifar100n", "cifar10-sym-50-sup", "cifar100-sym-80-sup"}
    cells |= {"cifar10n-worst-laptop", "webvision-self", "webvision-sup"}
    assert cells == {path.stem for path in CELLS}


@pytest.mark.parametrize("path", CELLS, ids=lambda path: path.stem)
def test_a_cell_refers_to_the_encoder_of_its_images_and_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PARAMS.parent)
    params = load_params(path)
    found = encoders.referred(params)
    laptop = "-laptop" if path.stem.endswith("-laptop") else ""
    assert found is not None and found.cell == params.data.name + laptop


@pytest.mark.parametrize("path", CELLS, ids=lambda path: path.stem)
def test_names_say_what_is_in_the_file_and_the_gradient_of_the_contrast_is_the_same(path: Path) -> None:
    params, method = load_params(path), method_of(path)
    assert method.variant == ("sup" if path.stem.endswith("-sup") else "self")
    assert (method.ssl_views == "weak") == path.stem.endswith("-weak")
    assert method.lambda_c == (0 if path.stem.endswith(("-weak", "-no-ctr")) else method.tau_c / 2)
    assert params.cell == path.stem and method.tau_c == (0.1 if method.variant == "sup" else 0.5)
    assert method.penalty == (params.noise.kind == "asymmetric")


TAKEN_OVER = [path for path in CELLS if path.stem.startswith("cifar") and not path.stem.endswith("-laptop")]


@pytest.mark.parametrize("path", TAKEN_OVER, ids=lambda path: path.stem)
def test_what_cifar_takes_over_from_dividemix_is_that(path: Path) -> None:
    ours = load_params(path)
    theirs = load_params(PARAMS / "dividemix" / f"{path.stem.removesuffix('-sup')}.yaml")
    for section in ("data", "noise", "views", "model", "optim"):
        assert getattr(ours, section) == getattr(theirs, section)
    assert isinstance(theirs.method, DivideMixParams)
    changed = {"name", "warm_up"}
    expected = {key: value for key, value in theirs.method.model_dump().items() if key not in changed}
    assert {key: value for key, value in ours.method.model_dump().items() if key in expected} == expected
    assert (ours.training.epochs, ours.training.batch_size) == (theirs.training.epochs, theirs.training.batch_size)
    assert method_of(path).warm_up == 5


@pytest.mark.parametrize(
    ("path", "own", "message"),
    [
        (DIGITS, {"method.variant": "both"}, "method.variant"),
        (CIFAR, {"data.name": "digits"}, "need colours; digits need 'affine'"),
        (DIGITS, {"method.contrast_strong": {"kind": "simclr"}}, "need colours; digits need 'affine'"),
        (DIGITS, {"method.variant": "sup", "method.cl_subset": "unlabelled"}, "needs method.variant 'self'"),
        (DIGITS, {"method.tau_c": 0}, "method.tau_c"),
        (DIGITS, {"method.clip": 0}, "method.clip"),
        (DIGITS, {"method.lambda_c": -1}, "method.lambda_c"),
        (DIGITS, {"method.encoder": 3}, "method.encoder"),
        (DIGITS, {"method.colour": 3}, "unknown key 'method.colour'"),
        (CIFAR, {"method.strong": {"kind": "autoaugment", "pad": -1}}, "method.strong.pad"),
        (PARAMS / "simclr/cifar10.yaml", {"data.name": "digits"}, "digits need 'affine'"),
        (PARAMS / "simclr/digits.yaml", {"optim.drop_epochs": [3]}, "has no meaning for simclr"),
        (PARAMS / "simclr/cifar10.yaml", {"method.temperature": 0}, "method.temperature"),
    ],
)
def test_an_impossible_value_is_one_clear_line(path: Path, own: dict[str, Any], message: str) -> None:
    with pytest.raises(NlkitError, match=message) as caught:
        load_params(path, **own)
    assert "\n" not in str(caught.value)
