"""Tables of the book that are made from parameter files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nlkit.codim_params import CoDiMParams
from nlkit.model_params import PhotoModelParams
from nlkit.params import Params, load_params
from nlkit.photo_params import PhotoDataParams
from nlkit.view_params import PhotoViewParams


def photo_rows(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each parameter file on photographs: what it trains on what, and whether `rows` has a record of it."""
    table = []
    for path in sorted(folder.glob("*/*.yaml")):
        params = load_params(path)
        if isinstance(params.data, PhotoDataParams):
            table.append(_row(params) | {"record": _recorded(params, rows)})
    return pd.DataFrame(table)


def _row(params: Params) -> dict[str, str | int]:
    data, views, model = params.data, params.views, params.model
    assert isinstance(data, PhotoDataParams) and isinstance(views, PhotoViewParams)
    assert isinstance(model, PhotoModelParams)
    return {
        "method": params.paper,
        "cell": params.cell,
        "network": f"{model.name.replace('_', ' ')}, {_start(params, model)}",
        "short side, view": f"{data.short}, {views.kind.replace('_', ' ')} {views.size}",
        "epochs": params.training.epochs,
        "B": params.training.batch_size,
        "images of an epoch": getattr(params.method, "balanced", None) or "all",
    }


def _recorded(params: Params, rows: pd.DataFrame) -> str:
    if not len(rows):
        return "not run here"
    count = int(((rows["paper"] == params.paper) & (rows["cell"] == params.cell)).sum())
    return f"{count} seed{'s' * (count > 1)}" if count else "not run here"


def _start(params: Params, model: PhotoModelParams) -> str:
    """What the weights are before the first step."""
    if isinstance(params.method, CoDiMParams) and params.method.encoder is not None:
        return "pre-trained without labels"
    return "random start" if model.weights is None else f"weights {model.weights}"
