"""Views of photographs are told by their `kind`, and every wrong setting is one line that names its key."""

from __future__ import annotations

from typing import Any

import pytest

from nlkit import NlkitError
from nlkit.params import Params, make_params
from nlkit.params.views import AutoAugmentPhotoParams, PhotoViewParams, SimCLRParams, ViewParams

WEBVISION = {"name": "webvision", "short": 320}
CROP = {"kind": "crop", "size": 299}


def params(data: dict[str, Any], views: dict[str, Any] | None, method: dict[str, Any] | None = None) -> Params:
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


def refusal(*sections: Any) -> str:
    with pytest.raises(NlkitError) as caught:
        params(*sections)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("some.yaml: ")


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


@pytest.mark.parametrize(
    ("views", "line"),
    [
        ({"pad": 4, "foo": 1}, "unknown key 'views.foo' (value 1); remove it or correct its spelling"),
        (CROP | {"pad": 4}, "unknown key 'views.pad' (value 4); remove it or correct its spelling"),
        ({"kind": "crop"}, "key 'views.size' is missing"),
        ({"pad": -1}, "key 'views.pad' is -1: Input should be greater than or equal to 0"),
        ({"kind": "crop", "size": 7}, "key 'views.size' is 7: Input should be greater than or equal to 8"),
        ({"kind": "crop", "size": 224.5}, "key 'views.size' is 224.5: Input should be a valid integer"),
        ({"kind": "cut", "size": 99}, "key 'views.kind' is 'cut': Input should be 'crop' or 'resized_crop'"),
        ({"kind": None, "size": 99}, "key 'views.kind' is None: Input should be 'crop' or 'resized_crop'"),
        (CROP | {"smallest": 0.2}, "views.smallest is 0.2; it belongs to views.kind 'resized_crop'"),
        ({"kind": "resized_crop", "size": 99, "smallest": 0}, "key 'views.smallest' is 0: Input should be greater"),
        (CROP | {"size": 321}, "views.size is 321: larger than data.short, which is 320"),
        (3, "key 'views' is 3: Input should be an object"),
        ([], "key 'views' is []: Input should be an object"),
        ({"pad": 4}, "data.name 'webvision' needs views.kind 'crop' or 'resized_crop' and views.size"),
        (None, "data.name 'webvision' needs views.kind 'crop' or 'resized_crop' and views.size"),
    ],
)
def test_a_wrong_view_is_one_line_with_its_key(views: Any, line: str) -> None:
    assert line in refusal(WEBVISION, views)


def test_images_of_one_size_need_the_views_for_them() -> None:
    assert refusal({"name": "cifar10"}, CROP) == (
        "views.kind belongs to photographs in a store; data.name 'cifar10' needs views.pad"
    )


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ({"name": "tcl", "warm_up": 1, "strong": {"kind": "affine"}}, "method.strong.kind is 'affine'"),
        ({"name": "simclr", "strong": {"kind": "affine"}}, "method.strong.kind is 'affine'"),
        ({"name": "codim", "warm_up": 1}, "method.strong.kind is 'autoaugment'"),
        (
            {"name": "codim", "warm_up": 1, "strong": {"kind": "simclr"}, "contrast_strong": {"kind": "autoaugment"}},
            "method.contrast_strong.kind is 'autoaugment'",
        ),
        (
            {"name": "tcl_plus", "first_epochs": 1,
             "first": {"name": "tcl", "warm_up": 1, "strong": {"kind": "affine"}}},
            "method.first.strong.kind is 'affine'",
        ),
    ],
)  # fmt: skip
def test_photographs_need_strong_views_that_can_cut_them(method: dict[str, Any], key: str) -> None:
    expected = f"{key}: data.name 'webvision' needs 'simclr' or 'autoaugment_imagenet'"
    assert refusal(WEBVISION, CROP, method) == expected


def test_the_policy_of_imagenet_needs_photographs() -> None:
    method = {"name": "codim", "warm_up": 1, "strong": {"kind": "autoaugment_imagenet"}}
    found = params(WEBVISION, CROP, method).method.strong  # type: ignore[union-attr]
    assert found == AutoAugmentPhotoParams(kind="autoaugment_imagenet")
    assert refusal({"name": "cifar10"}, None, method) == (
        "method.strong.kind is 'autoaugment_imagenet': it is for photographs in a store, not for data.name 'cifar10'"
    )


def test_without_blur_strong_views_are_dumped_as_before() -> None:
    assert "blur" not in SimCLRParams(kind="simclr").model_dump()
    assert SimCLRParams(kind="simclr", blur=0.5).model_dump()["blur"] == 0.5
