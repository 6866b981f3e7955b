"""Views of photographs are told by their `kind`, and every wrong setting is one line that names its key."""

from typing import Any

import pytest
from fuzzing import refused

from nlkit.params import Params, make_params
from nlkit.params.views import PhotoViewParams, ViewParams

WEBVISION = {"name": "webvision", "short": 320}
CROP = {"kind": "crop", "size": 299}


def params(data: dict[str, Any], views: dict[str, Any] | None, method: dict[str, Any] | None = None) -> Params[Any]:
    method = method or {"name": "cross_entropy"}
    content = {
        "paper": str(method["name"]).removesuffix("_plus"),
        "cell": "some",
        "data": data,
        "noise": {"kind": "none"},
        "model": {"name": "small_cnn"},
        "optim": {"lr": 0.1},
        "training": {"epochs": 40},
        "method": method,
    }
    return make_params(content | ({} if views is None else {"views": views}), {}, source="some.yaml")


@pytest.mark.parametrize(
    ("data", "given", "views"),
    [
        (WEBVISION, CROP, PhotoViewParams(kind="crop", size=299)),
        (
            WEBVISION,
            {"kind": "resized_crop", "size": 320, "smallest": 0.2, "flip": False},
            PhotoViewParams(kind="resized_crop", size=320, smallest=0.2, flip=False),
        ),
        ({"name": "cifar10"}, {"pad": 3}, ViewParams(pad=3)),
        ({"name": "cifar10"}, None, ViewParams()),
    ],
)
def test_the_kind_tells_views_of_photographs_from_others(
    data: dict[str, Any], given: dict[str, Any] | None, views: ViewParams | PhotoViewParams
) -> None:
    found = params(data, given)
    assert found.views == views
    assert make_params(found.model_dump(mode="json"), {}, "record") == found


TCL = {"name": "tcl", "warm_up": 1, "strong": {"kind": "affine"}}
CODIM = {"name": "codim", "warm_up": 1}
CIFAR = {"name": "cifar10"}
POLICY = {"kind": "autoaugment_imagenet"}
NEEDED = "data.name 'webvision' needs 'simclr' or 'autoaugment_imagenet'"
REFUSED: list[tuple[dict[str, Any], Any, dict[str, Any] | None, str]] = [
    (WEBVISION, {"pad": 4, "foo": 1}, None, "unknown key 'views.foo' (value 1); remove it or correct its spelling"),
    (WEBVISION, {"kind": "crop"}, None, "key 'views.size' is missing"),
    (WEBVISION, {"pad": -1}, None, "key 'views.pad' is -1: Input should be greater than or equal to 0"),
    (WEBVISION, CROP | {"size": 7}, None, "key 'views.size' is 7: Input should be greater than or equal to 8"),
    (WEBVISION, CROP | {"kind": "cut"}, None, "key 'views.kind' is 'cut': Input should be 'crop' or 'resized_crop'"),
    (WEBVISION, CROP | {"smallest": 0.2}, None, "views.smallest is 0.2; it belongs to views.kind 'resized_crop'"),
    (WEBVISION, CROP | {"size": 321}, None, "views.size is 321: larger than data.short, which is 320"),
    (WEBVISION, 3, None, "key 'views' is 3: Input should be an object"),
    (WEBVISION, {"pad": 4}, None, "data.name 'webvision' needs views.kind 'crop' or 'resized_crop' and views.size"),
    (CIFAR, CROP, None, "data.name 'cifar10' needs views.pad and no views.kind"),
    (WEBVISION, CROP, TCL, f"method.strong.kind is 'affine': {NEEDED}"),
    (WEBVISION, CROP, CODIM, f"method.strong.kind is 'autoaugment': {NEEDED}"),
    (
        WEBVISION, CROP, CODIM | {"strong": {"kind": "simclr"}, "contrast_strong": {"kind": "autoaugment"}},
        f"method.contrast_strong.kind is 'autoaugment': {NEEDED}",
    ),
    (
        WEBVISION, CROP, {"name": "tcl_plus", "first_epochs": 1, "first": TCL},
        f"method.first.strong.kind is 'affine': {NEEDED}",
    ),
    (
        CIFAR, None, CODIM | {"strong": POLICY}, "method.strong.kind is 'autoaugment_imagenet': data.name 'cifar10' "
        "needs 'affine' or 'simclr' or 'autoaugment'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "views", "method", "line"), REFUSED)
def test_views_that_do_not_fit_the_images_are_refused_in_one_line(
    data: dict[str, Any], views: Any, method: dict[str, Any] | None, line: str
) -> None:
    said = refused(lambda: params(data, views, method))
    assert said.startswith("some.yaml: ") and line in said
