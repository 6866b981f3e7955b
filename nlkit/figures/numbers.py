"""The numbers that any figure shows, read from what is drawn."""

import re
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import FillBetweenPolyCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import FixedFormatter, FuncFormatter

MOST = 400  # points or cells of one mark; beyond that the figure is left to the record behind it, and a curve thinned


def figure_csv(figure: Figure) -> str | None:
    """A CSV row for each point, bar, bin and cell; None for a figure of photographs, or of thousands of points.

    Columns: `panel`, `series`, `kind`, and as far as needed `x`, `y`, their ends where a mark is wide, and the `value`
    of a cell. A label that all panels share stands behind `x` or `y`; what the ticks of an axis name is named.
    """

    def look(mark: Any) -> Any:  # what tells lines apart in a legend
        return (to_hex(mark.get_color()), mark.get_marker()) if isinstance(mark, Line2D) else None

    axes: list[Any] = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    legends: list[Any] = [*figure.legends, *filter(None, (ax.get_legend() for ax in axes))]
    known = {look(one): text.get_text() for a in legends for one, text in zip(a.legend_handles, a.texts, strict=True)}
    tables = [pd.DataFrame({"panel": [], "series": [], "kind": []})]
    for ax in axes:
        panel = " ".join((ax.get_title() or ax.get_ylabel() or ax.get_xlabel()).split())
        for kind, mark, columns in _marks(ax):
            table, label = pd.DataFrame(columns), str(mark.get_label())
            if kind in ("point", "cell") and len(table) > MOST:
                return None
            if label.startswith("_"):
                label = (look(mark) and known.get(look(mark))) or re.sub("^_(child|container|nolegend_)?", "", label)
            step = len(table) // 50 if len(table) > MOST else 1
            tables.append(table[::step].assign(panel=panel, series=label, kind=kind))
    found = pd.concat(tables).set_index([*tables[0]]).sort_index(axis=1)
    shown = {one: {plt.getp(ax, f"{one}label") for ax in axes} | {plt.getp(figure, f"sup{one}label")} for one in "xy"}
    names = {one: f"{one} ({''.join(labels)})" for one, labels in shown.items() if len(labels - {""}) == 1}
    return found.rename(columns=names).to_csv(float_format="%.6g", lineterminator="\n") if len(found) else None


def _marks(ax: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Kind, artist and columns of what lies in the coordinates of a panel; a label `_name` is in no legend."""
    for line in ax.lines:
        if line.get_transform() is ax.transData and line.get_label() != "_":  # which an outline has
            x, y = np.asarray(line.get_data(orig=False), dtype=float)
            yield "line", line, _place(ax, "x", x) | _place(ax, "y", y)
    for area in ax.patches:
        if type(area) is Polygon and area.get_data_transform() is ax.transData and len(area.xy) % 4 == 1:
            x, y = area.xy[: len(area.xy) // 2 + 1].T  # of a histogram: along its top, from the foot of the first bin
            yield "bin", area, {"x": x[1::2], "x_end": x[2::2], "y": y[1::2]}
    for bars in (one for one in ax.containers if isinstance(one, BarContainer)):
        left, low, right, high = np.array([one.get_bbox().extents for one in bars]).reshape(-1, 4).T
        yield "bar", bars, _place(ax, "x", left, right) | _place(ax, "y", low, high)
    for drawn in ax.collections:
        if isinstance(drawn, PathCollection):
            x, y = np.asarray(drawn.get_offsets()).T
            yield "point", drawn, _place(ax, "x", x) | _place(ax, "y", y)
        elif isinstance(drawn, FillBetweenPolyCollection):
            corners = np.asarray(drawn.get_paths()[0].vertices)
            low, high = corners[1 : len(corners) // 2], corners[len(corners) // 2 + 1 : -1][::-1]
            yield "band", drawn, {"x": low[:, 0], "y": low[:, 1], "y_end": high[:, 1]}
    for matrix in (*ax.images, *(one for one in ax.collections if isinstance(one, QuadMesh))):
        values = matrix.get_array()
        if values.dtype != np.uint8:  # which photographs are
            y, x = (np.arange(count + 1) - 0.5 for count in values.shape)
            if isinstance(matrix, QuadMesh):
                x, y = np.asarray(matrix.get_coordinates())[0, :, 0], np.asarray(matrix.get_coordinates())[:, 0, 1]
            row, column = np.nonzero(~np.ma.getmaskarray(np.ma.masked_invalid(values)))
            places = _place(ax, "x", x[column], x[column + 1]) | _place(ax, "y", y[row], y[row + 1])
            yield "cell", matrix, places | {"value": np.asarray(values)[row, column]}


def _place(ax: Any, name: str, start: np.ndarray, end: np.ndarray | None = None) -> dict[str, Any]:
    """Places on an axis, or their two ends; where its ticks name all of them, the names."""
    axis, ends = plt.getp(ax, f"{name}axis"), {} if end is None else {f"{name}_end": end}
    if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter | StrCategoryFormatter):
        return {name: start} | ends
    ticks, middle = axis.get_majorticklocs(), start if end is None else (start + end) / 2
    names = dict(zip(np.round(ticks, 6), axis.get_major_formatter().format_ticks(ticks), strict=True))
    found = [names.get(value, "") for value in np.round(middle, 6)]
    return {name: found} if all(found) else {name: start} | ends
