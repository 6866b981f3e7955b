"""The HTML report of a cleaning run: one file that opens anywhere and loads nothing."""

import base64
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template
from PIL import Image

from nlkit.cleaning.results import CleanResult, class_table

GALLERY = 48
ROWS = 60


def report(result: CleanResult) -> str:
    """The whole page as text; every name that comes from outside is escaped."""
    wrong = result.scores[result.scores["is_label_issue"]]
    surest = wrong.sort_values(["label_quality", "p_clean", "confidence"], ascending=[True, True, False])
    text = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return Template(text, autoescape=True, trim_blocks=True).render(
        result=result,
        scores=result.scores,
        record=result.run.record,
        data=result.run.params.data,
        issues=len(wrong),
        surest=surest.head(GALLERY),
        classes=class_table(result.scores),
        most=ROWS,
        drawings=_figures(result),
        picture=_picture,
    )


def _picture(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return _address("png", stream)


def _figures(result: CleanResult) -> dict[str, str]:
    """Drawings by name; none where matplotlib cannot be used, and the rest of the report does without them."""
    try:
        import matplotlib.pyplot as plt

        from nlkit import figures
        from nlkit.figures.style import SETTINGS
    except (ImportError, ValueError):  # not installed, or its backend or its settings are none
        return {}
    run = result.run
    names = [name if len(name) <= 14 else name[:13] + "…" for name in result.problem.class_names]
    names = [name.replace("$", r"\$") for name in names]  # a dollar sign begins a formula
    drawings: dict[str, Callable[[], Any]] = {
        "losses": lambda: figures.loss_histograms(run),
        "p_clean": lambda: figures.p_clean_histograms(run),
        "matrix": lambda: figures.transition_matrices(figures.run_matrices(run), names),
    }
    found, backend = {}, plt.get_backend()
    plt.switch_backend("agg")
    try:
        with plt.style.context("default"), plt.rc_context(SETTINGS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that the font lacks
            for name, draw in drawings.items():
                stream, figure = io.BytesIO(), draw()
                figure.savefig(stream, format="svg", metadata={"Date": None})
                plt.close(figure)
                found[name] = _address("svg+xml", stream)
    finally:
        plt.switch_backend(backend)
    return found


def _address(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
