"""What figures share: colours that colour-blind readers can tell apart, a width, and what a record holds."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlkit.training.runs import Run

SETTINGS = rc_params_from_file(Path(__file__).with_name("book.mplstyle"), use_default_template=False)
CYCLE: list[str] = SETTINGS["axes.prop_cycle"].by_key()["color"]
CLEAN, NOISY = CYCLE[:2]
NEUTRAL = "#5A5A5A"
WIDTH: float = SETTINGS["figure.figsize"][0]  # inches of a figure that fills the page


def use_book_style() -> None:
    """Set matplotlib's defaults, and SVG as the output of notebook cells."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats  # Jupyter, which a report does without

    plt.rcParams.update(SETTINGS)
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches=None)  # the layout leaves nothing to crop


def panels(count: int, height: float, columns: int = 3, **options: Any) -> tuple[Figure, list[Axes]]:
    """Axes for panels of a height in inches, so many in a row of the page's width; options as plt.subplots has them."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, list(axes.flat[:count])


def legend_below(figure: Figure, ax: Axes, **options: Any) -> None:
    """The legend of one panel for all, below them."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, **options)


def snapshots(run: Run) -> list[int]:
    """The epochs whose samples are in the record."""
    columns = [str(name) for name in run.samples]
    return sorted(int(name.removeprefix("p_clean_")) for name in columns if name.startswith("p_clean_"))


def warm_up(run: Run) -> int | None:
    """Number of warm-up epochs of the run's method, None where it has none."""
    return getattr(run.params.method, "warm_up", None)


def epoch_title(run: Run, epoch: int) -> str:
    """The title of a panel: the epoch, and whether it belongs to the warm-up."""
    return f"epoch {epoch}" + (" (warm-up)" if epoch <= (warm_up(run) or 0) else "")


def threshold(run: Run) -> float:
    """P(clean) above which a label is trusted."""
    return float(getattr(run.params.method, "threshold", 0.5))


def groups(samples: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and mask [N] of the samples with a correct and with a wrong label, or of all of them."""
    if "clean" not in samples:
        return [("all labels", NEUTRAL, np.ones(len(samples), dtype=bool))]
    right = (samples["noisy"] == samples["clean"]).to_numpy()
    return [("correct label", CLEAN, right), ("wrong label", NOISY, ~right)]
