from __future__ import annotations

from pathlib import Path

import pandas as pd
from nlbook.fragments import photo_rows

PARAMS = Path(__file__).parents[2] / "params"


def test_every_row_on_photographs_is_listed_with_its_records() -> None:
    rows = pd.DataFrame({"paper": ["tcl", "tcl", "tcl"], "cell": ["webvision", "webvision", "digits-sym-50"]})
    table = photo_rows(PARAMS, rows).set_index(["method", "cell"])
    assert {"webvision", "webvision-resnet18", "clothing1m"} == set(table.loc["dividemix"].index)
    assert table.loc[("tcl", "webvision"), "record"] == "2 seeds"
    assert table.loc[("tcl", "clothing1m"), "record"] == "not run here"
    assert not any(cell.startswith(("digits", "cifar")) for _, cell in table.index)


def test_without_records_every_row_says_so() -> None:
    assert set(photo_rows(PARAMS, pd.DataFrame())["record"]) == {"not run here"}
