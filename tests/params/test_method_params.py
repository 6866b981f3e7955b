"""The parameter files of the methods carry the official values, and impossible ones are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlkit import NlkitError, load_params
from nlkit.params.views import SimCLRParams
from nlkit.training import encoders

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params"
FILES = sorted(PARAMS.glob("*/*.yaml"))


def cells(pattern: str, *left_out: str) -> list[Path]:
    """The parameter files that a pattern names, but for the laptop settings and names with these endings."""
    return [path for path in FILES if path.match(f"{pattern}.yaml") and not path.stem.endswith(("-laptop", *left_out))]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def assert_settings(path: Path, expected: dict[str, Any]) -> None:
    """Each value of a file that `expected` names by its dotted key is the one given there."""
    found = {}
    for key in expected:
        value: Any = load_params(path)
        for part in key.split("."):
            value = getattr(value, part)
        found[key] = value
    assert found == expected


TCL = {
    "training.epochs": 200, "training.batch_size": 1024, "optim.lr": 0.12, "optim.momentum": 0.9,
    "optim.weight_decay": 1e-3, "method.warm_up": 19, "method.lr_warm_up": 20, "method.temperature": 0.25,
    "method.alpha": 1, "method.ctr_weight": 0.25, "method.lr_floor": 0.01, "method.dim": 256, "method.hidden": 512,
    "method.dropout": 0.25, "method.strong": SimCLRParams(kind="simclr"), "method.mixture.max_iter": 100,
    "method.mixture.tol": 1e-3, "method.mixture.reg_covar": 1e-6,
}  # fmt: skip
LRA = {
    "training.epochs": 200, "training.batch_size": 200, "optim.lr": 1e-3, "optim.momentum": 0.9,
    "optim.weight_decay": 0, "model.name": "resnet34", "model.width": 64, "method.width": 512, "method.k": 10,
    "method.weighted": True, "method.draws": 1, "method.retrieval": "online", "method.timesteps": 1000,
    "method.sampling_steps": 10, "method.lr_warm_up": 5, "method.clip_norm": 1, "method.ema_decay": 0.9999,
    "method.distance": "euclidean", "method.bank": "view", "method.exclude_self": False, "views.pad": 4,
    "views.flip": True,
}  # fmt: skip
DIVIDEMIX = {
    "training.epochs": 301, "training.batch_size": 64, "optim.lr": 0.02, "optim.drop_epochs": (150,),
    "optim.momentum": 0.9, "optim.weight_decay": 5e-4, "optim.drop_factor": 0.1,
}  # fmt: skip
TABULATED = {
    "method.temperature": 0.5, "method.alpha": 4, "method.lambda_r": 1, "method.ramp_epochs": 16,
    "method.mixture.max_iter": 10, "method.mixture.tol": 1e-2, "method.mixture.reg_covar": 5e-4,
}  # fmt: skip
ELR = {
    "training.batch_size": 128, "model.name": "resnet34", "optim.lr": 0.02, "optim.weight_decay": 1e-3,
    "method.clamp": 1e-4,
}  # fmt: skip


@pytest.mark.parametrize("path", cells("dividemix/cifar*", "-pmd-35"), ids=named)
def test_dividemix_on_cifar_has_the_schedule_of_the_official_code(path: Path) -> None:
    assert_settings(path, DIVIDEMIX | {"method.warm_up": 30 if path.stem.startswith("cifar100") else 10})


@pytest.mark.parametrize(
    ("data", "noise", "lambda_u"),
    [
        *(("cifar10", f"sym-{rate}", weight) for rate, weight in ((20, 0), (50, 25), (80, 25), (90, 50))),
        *(("cifar100", f"sym-{rate}", weight) for rate, weight in ((20, 25), (50, 150), (80, 150), (90, 150))),
        ("cifar10", "asym-40", 0),
    ],
)
def test_dividemix_has_the_settings_that_the_paper_tabulates(data: str, noise: str, lambda_u: float) -> None:
    own = {"method.lambda_u": lambda_u, "method.penalty": noise == "asym-40"}
    own |= {"method.threshold": 0.6, "method.loss_epochs": 5} if noise == "sym-90" else {"method.threshold": 0.5}
    assert_settings(PARAMS / f"dividemix/{data}-{noise}.yaml", TABULATED | {"method.loss_epochs": 1} | own)


@pytest.mark.parametrize("path", cells("tcl/cifar*", "-plus"), ids=named)
def test_tcl_on_cifar_has_the_settings_of_the_official_code(path: Path) -> None:
    assert_settings(path, TCL | {"method.mixture_per": "class" if path.stem.startswith("cifar100") else "set"})


@pytest.mark.parametrize(
    ("cell", "scales"),
    [("cifar10-sym-20", (None, None)), ("cifar10-sym-90", (None, None)), ("cifar100-sym-90", (None, 1.0))],
)
def test_the_three_public_files_of_tcl_have_their_scales(cell: str, scales: tuple[float | None, float | None]) -> None:
    assert_settings(PARAMS / f"tcl/{cell}.yaml", {"method.scale1": scales[0], "method.scale2": scales[1]})


@pytest.mark.parametrize("path", cells("lra_diffusion/cifar*"), ids=named)
def test_lra_diffusion_on_cifar_has_the_settings_of_the_official_code(path: Path) -> None:
    clip, parity = path.stem.endswith("-clip"), path.stem.endswith("-parity")
    own = {"method.encoder.kind": "clip" if clip else "simclr", "method.query": "cached" if clip else "view"}
    own |= {"method.train_encoder": not parity, "method.evaluate": "raw" if parity else "ema"}
    assert_settings(path, LRA | own | {"method.horizon": 1000 if parity else None})


@pytest.mark.parametrize(
    ("cell", "weight", "beta", "epochs", "drops", "cosine"),
    [
        ("cifar10-sym-80", 3, 0.7, 150, (), 10),
        ("cifar10-asym-40", 1, 0.9, 120, (40, 80), None),
        ("cifar100-sym-20", 7, 0.9, 150, (80, 120), None),
    ],
)
def test_elr_has_the_settings_of_the_official_code(
    cell: str, weight: float, beta: float, epochs: int, drops: tuple[int, ...], cosine: int | None
) -> None:
    own = {"method.weight": weight, "method.beta": beta, "method.cosine_epochs": cosine, "training.epochs": epochs}
    own |= {"optim.drop_epochs": drops} | ({"optim.drop_factor": 0.01} if drops else {})
    assert_settings(PARAMS / f"elr/{cell}.yaml", ELR | own)


@pytest.mark.parametrize("path", cells("codim/*"), ids=named)
def test_names_of_codim_say_what_is_in_the_file_and_the_gradient_of_the_contrast_is_the_same(path: Path) -> None:
    sup, weak, without = (path.stem.endswith(end) for end in ("-sup", "-weak", ("-weak", "-no-ctr")))
    tau = 0.1 if sup else 0.5
    own = {"method.variant": "sup" if sup else "self", "method.ssl_views": "weak" if weak else "strong"}
    own |= {"method.tau_c": tau, "method.lambda_c": 0 if without else tau / 2}
    assert_settings(path, own | {"method.penalty": "-asym-" in path.stem})


@pytest.mark.parametrize("path", cells("codim/cifar*"), ids=named)
def test_what_codim_takes_over_from_dividemix_is_that(path: Path) -> None:
    ours = load_params(path)
    theirs = load_params(PARAMS / "dividemix" / f"{path.stem.removesuffix('-sup')}.yaml")
    for section in ("data", "noise", "views", "model", "optim"):
        assert getattr(ours, section) == getattr(theirs, section)
    expected = theirs.method.model_dump(exclude={"name"}) | {"warm_up": 5}
    assert {key: value for key, value in ours.method.model_dump().items() if key in expected} == expected
    assert (ours.training.epochs, ours.training.batch_size) == (theirs.training.epochs, theirs.training.batch_size)


@pytest.mark.parametrize("cell", ["digits-sym-80", "cifar10-sym-90"])
def test_the_first_stage_of_tcl_plus_is_that_of_the_cell(cell: str) -> None:
    plain, plus = (load_params(PARAMS / f"tcl/{name}.yaml") for name in (cell, f"{cell}-plus"))
    assert plus.method.first == plain.method and plus.method.first_epochs == plain.training.epochs
    shared = {"data", "noise", "views", "model", "optim"}
    assert plus.model_dump(include=shared) == plain.model_dump(include=shared)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in ("codim", "lra_diffusion")], ids=named)
def test_the_encoder_that_a_file_names_is_there_and_of_the_same_images(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    params = load_params(path)
    referred = encoders.referred(params)
    assert (referred is None) == (params.method.pretraining is None)
    assert referred is None or referred.data == params.data
    assert referred is not None or path.parent.name != "codim"


GOOD = {"dividemix": "dividemix/cifar10-sym-50"}
GOOD |= {"elr": "elr/digits-sym-50", "mixup": "mixup/digits-sym-50", "confident": "confident_learning/digits-sym-50"}
GOOD |= {"tcl": "tcl/cifar10-sym-50", "simclr": "simclr/cifar10"}
GOOD |= {"codim": "codim/digits-sym-50", "codim cifar": "codim/cifar10-sym-50", "tcl_plus": "tcl/cifar10-sym-90-plus"}
GOOD |= {"lra": "lra_diffusion/cifar10-sym-50", "lra digits": "lra_diffusion/digits-sym-50-identity"}
NAN = float("nan")
BAD: dict[str, dict[str, list[Any]]] = {
    "mixup": {"alpha": [0, NAN], "beta": [0.7]},
    "elr": {"beta": [1.0, -0.1], "weight": [-1], "clamp": [0.5, 0], "lambda": [3]},
    "confident": {"folds": [1, 21], "score": ["entropy"]},
    "simclr": {"temperature": [0]},
    "tcl": {
        "warm_up": [-1], "lr_warm_up": [0], "scale1": [1.1], "queue": [65536], "mixture_per": ["image"],
        "dropout": [1.0], "marginal_weight": [float("inf")], "strong.hue": [0.6], "strong.kind": ["randaugment"],
    },
    "codim": {"variant": ["both"], "tau_c": [0], "encoder": [3]},
    "codim cifar": {"strong": [{"kind": "autoaugment", "pad": -1}]},
    "lra": {
        "k": [0], "width": [1], "timesteps": [1], "horizon": [0], "ema_decay": [1], "evaluate": ["best"],
        "weighted": [1], "distance": ["manhattan"], "encoder.kind": ["dino"], "encoder.weights": ["x"],
    },
}  # fmt: skip
VALUES = [(name, f"method.{key}", one) for name, keys in BAD.items() for key, many in keys.items() for one in many]


def refusal(name: str, overrides: dict[str, Any]) -> str:
    """What is said of a good file with these overrides: one line that begins with the file."""
    path = PARAMS / f"{GOOD[name]}.yaml"
    with pytest.raises(NlkitError) as caught:
        load_params(path, **overrides)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("name", "key", "value"), VALUES)
def test_a_bad_value_is_refused_in_one_line_with_file_and_key(name: str, key: str, value: Any) -> None:
    assert f"'{key}" in refusal(name, {key: value})


FILE = {"method.encoder": {"kind": "file", "train": "a.npy", "test": "b.npy"}, "method.bank": "view"}
CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("dividemix", {"noise.kind": "human"}, "annotator"),
    ("dividemix", {"noise.kind": "file"}, "noise.file"),
    ("dividemix", {"noise.kind": "human", "noise.annotator": "fine"}, "fine"),
    ("dividemix", {"noise.kind": "human", "noise.annotator": "worst", "data.name": "digits"}, "human"),
    ("dividemix", {"noise.kind": "asymmetric", "data.name": "cifar100"}, "asymmetric"),
    ("elr", {"method.cosine_epochs": 4, "optim.drop_epochs": [2]}, "optim.drop_epochs has no meaning"),
    ("simclr", {"data.name": "digits"}, "digits need 'affine'"),
    ("tcl", {"paper": "dividemix"}, "method.name"),
    ("tcl_plus", {"method.first_epochs": 400, "training.epochs": 400}, "first_epochs must be below training.epochs"),
    ("codim", {"method.variant": "sup", "method.cl_subset": "unlabelled"}, "needs method.variant 'self'"),
    ("codim cifar", {"data.name": "digits"}, "needs colours; digits need 'affine'"),
    ("codim", {"method.mixed": "labelled"}, "method.lambda_u 0"),
    ("codim", {"method.balanced": 30, "method.loss_epochs": 5}, "method.loss_epochs 1"),
    ("lra", {"method.sampling_steps": 501}, "more than half of method.timesteps"),
    ("lra", {"method.retrieval": "precomputed"}, "needs method.query 'cached'"),
    ("lra", {"method.horizon": 199.0}, "method.horizon is 199"),
    ("lra", {"training.batch_size": 1}, "training.batch_size is 1"),
    ("lra digits", {"method.encoder.kind": "clip"}, "needs photographs in colour"),
    ("lra digits", FILE | {"method.query": "cached"}, "needs method.query 'cached' and method.bank 'plain'"),
]


@pytest.mark.parametrize(("name", "overrides", "words"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(name: str, overrides: dict[str, Any], words: str) -> None:
    assert words in refusal(name, overrides)


def test_settings_at_their_later_defaults_leave_the_hash_of_older_records_as_it_was() -> None:
    plain = load_params(PARAMS / "dividemix/digits-sym-50.yaml")
    assert not {"mixed", "balanced"} & set(plain.model_dump(mode="json")["method"])
    given = load_params(PARAMS / "dividemix/digits-sym-50.yaml", **{"method.mixed": "all", "method.balanced": None})
    assert given.digest == plain.digest
    assert plain.digest != load_params(PARAMS / "dividemix/digits-sym-50.yaml", **{"method.balanced": 30}).digest
