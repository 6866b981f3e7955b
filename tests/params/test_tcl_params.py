"""The parameter files of TCL carry the official values, and impossible ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlkit import NlkitError, load_params
from nlkit.params.tcl import TCLParams, TCLPlusParams
from nlkit.params.views import SimCLRParams

FOLDER = Path(__file__).parents[2] / "params" / "tcl"
CIFAR = sorted(path for path in FOLDER.glob("cifar*.yaml") if not path.stem.endswith(("-plus", "-laptop")))
GOOD = FOLDER / "cifar10-sym-50.yaml"


def test_every_cell_of_the_book_has_a_file() -> None:
    cells = {f"digits-{noise}" for noise in ("sym-20", "sym-50", "sym-80", "asym-40")}
    cells |= {f"{data}-sym-{rate}" for data in ("cifar10", "cifar100") for rate in (20, 50, 80, 90)}
    cells |= {f"cifar10n-{labels}" for labels in ("aggregate", "random1", "random2", "random3", "worst")}
    assert cells | {"cifar10-asym-40", "cifar100n"} <= {path.stem for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_cifar_has_the_schedule_and_the_sizes_of_the_official_code(path: Path) -> None:
    params = load_params(path)
    optim, training, method = params.optim, params.training, params.method
    assert isinstance(method, TCLParams)
    assert (training.epochs, training.batch_size, optim.lr) == (200, 1024, 0.12)
    assert (optim.momentum, optim.weight_decay, method.warm_up, method.lr_warm_up) == (0.9, 1e-3, 19, 20)
    assert (method.temperature, method.alpha, method.ctr_weight, method.lr_floor) == (0.25, 1, 0.25, 0.01)
    assert (method.dim, method.hidden, method.dropout) == (256, 512, 0.25)
    assert method.strong == SimCLRParams(kind="simclr")
    assert (method.mixture.max_iter, method.mixture.tol, method.mixture.reg_covar) == (100, 1e-3, 1e-6)
    assert method.mixture_per == ("class" if params.data.name == "cifar100" else "set")


@pytest.mark.parametrize("cell", ["digits-sym-80", "cifar10-sym-90"])
def test_the_first_stage_of_the_second_is_that_of_the_cell(cell: str) -> None:
    plain, plus = (load_params(FOLDER / f"{name}.yaml") for name in (cell, f"{cell}-plus"))
    assert isinstance(plus.method, TCLPlusParams)
    assert plus.method.first == plain.method and plus.method.first_epochs == plain.training.epochs
    shared = {"data", "noise", "views", "model", "optim"}
    assert plus.model_dump(include=shared) == plain.model_dump(include=shared)


@pytest.mark.parametrize(
    ("cell", "scales"),
    [("cifar10-sym-20", (None, None)), ("cifar10-sym-90", (None, None)), ("cifar100-sym-90", (None, 1.0))],
)
def test_the_three_public_files_have_their_scales(cell: str, scales: tuple[float | None, float | None]) -> None:
    method = load_params(FOLDER / f"{cell}.yaml").method
    assert isinstance(method, TCLParams) and (method.scale1, method.scale2) == scales


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method.warm_up", -1), ("method.lr_warm_up", 0), ("method.temperature", 0), ("method.scale1", 1.1),
        ("method.ctr_weight", -1), ("method.sigma_mode", "free"), ("method.mixture_per", "image"),
        ("method.dropout", 1.0), ("method.dim", 0), ("method.strong.crop", 0), ("method.strong.hue", 0.6),
        ("method.strong.kind", "randaugment"), ("method.strong.erase", 0.5), ("method.strong.pad", 1),
        ("method.queue", 65536), ("method.alpha", float("nan")), ("method.marginal_weight", float("inf")),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_in_one_line_with_file_and_key(key: str, value: Any) -> None:
    with pytest.raises(NlkitError) as caught:
        load_params(GOOD, **{key: value})
    message = str(caught.value)
    assert message.startswith(str(GOOD)) and "\n" not in message and "tcl" not in message.split(":", 1)[1]
    assert key.removesuffix(".kind") in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"optim.drop_epochs": [3]}, "drop_epochs"),
        ({"data.name": "digits"}, "affine"),
        ({"paper": "dividemix"}, "method.name"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(NlkitError, match=words):
        load_params(GOOD, **overrides)


def test_the_digest_tells_the_settings_of_the_method_apart() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"method.ctr_weight": 1.0}, {"method.sigma_mode": "per_class"}, {"method.mixture_per": "class"},
        {"method.scale1": 1.0}, {"method.scale2": 1.0}, {"method.strong.crop": 0.08}, {"method.dim": 128},
    ]  # fmt: skip
    assert len({load_params(GOOD, **change).digest for change in changes}) == len(changes)
