from __future__ import annotations

from typing import Any

import pandas as pd
from nlbook import tables


def info(cell: str, seed: int, model: dict[str, Any], **accuracy: float) -> dict[str, Any]:
    base = {"last": 70.0, "best": 80.0, "last_single": 60.0, "best_single": 65.0}
    return {
        "paper": "dividemix", "cell": cell, "seed": seed, "seconds": 1.0, "peak_memory_mb": 1.0,
        "accuracy": base | accuracy, "split": {"auc": 0.9}, "noise": {"nominal": None, "realised": None},
        "network": {"name": model["name"]}, "params": {"model": model, "training": {"epochs": 2}},
        "data": {"train": 5}, "device": {"name": "cpu"},
    }  # fmt: skip


def claim(cell: str, metric: str, paper: str = "dividemix") -> dict[str, Any]:
    return {"paper": paper, "cell": cell, "metric": metric, "value": 75.0, "source": "paper"}


WIDE, PHOTO = {"name": "resnet34", "width": 8}, {"name": "inception_resnet_v2", "weights": None}


def measured(metric: str, cell: str = "webvision") -> str:
    rows = tables.rows_of(
        [info("webvision", seed, PHOTO, last_imagenet=50.0 + seed, selected=71.0) for seed in (0, 2)]
        + [info("cifar10-sym-50", 0, WIDE)]
    )
    return str(tables.claimed_and_measured("dividemix", pd.DataFrame([claim(cell, metric)]), rows)["measured"][0])


def test_each_kind_of_claim_is_answered_by_its_own_measurement() -> None:
    assert measured("top1") == measured("last") == "70.0 ± 0.0"
    assert measured("best") == "80.0 ± 0.0"
    assert measured("imagenet_top1") == "51.0 ± 1.4"
    assert measured("selected") == "71.0 ± 0.0"
    assert measured("best_single", "cifar10-sym-50") == "65.0"


def test_what_was_not_measured_is_not_answered_by_something_else() -> None:
    assert measured("top1", "clothing1m") == "not run here"
    rows = tables.rows_of([info("webvision", 0, PHOTO)])
    found = tables.claimed_and_measured("dividemix", pd.DataFrame([claim("webvision", "imagenet_top1")]), rows)
    assert found["measured"][0] == "not run here"


def test_networks_are_named_with_their_width_where_they_have_one() -> None:
    rows = tables.rows_of([info("webvision", 0, PHOTO), info("cifar10-sym-50", 0, WIDE)])
    assert rows["network"].tolist() == ["inception_resnet_v2", "resnet34, width 8"]
