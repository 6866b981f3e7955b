"""The HTML report of a cleaning run: one file that opens anywhere and loads nothing."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from nlkit.cleaning.results import CleanResult, class_table

GALLERY = 48
ROWS = 60
STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; font-size: .9rem } th, td { text-align: left; padding: .25rem .9rem .25rem 0 }
th { border-bottom: 1px solid #888 } td { border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
td.number, th.number { text-align: right }
img.figure { max-width: 100%; height: auto }
.bar { display: inline-block; height: .7em; background: #D55E00; vertical-align: baseline }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: 1rem }
.gallery figure { margin: 0; font-size: .78rem; line-height: 1.3; overflow-wrap: anywhere }
.gallery img { width: 100%; image-rendering: pixelated; border: 1px solid #ddd }
.given { color: #D55E00 } .suggested { color: #0072B2 } .small { color: #5A5A5A; font-size: .85rem }
"""


def report(result: CleanResult) -> str:
    """The whole page as text; every name that comes from outside is escaped."""
    sections = [
        ("", _summary(result)),
        ("Surest label errors", _gallery(result)),
        ("Classes", _classes(result)),
        *_figures(result),
        ("What was chosen", _table(result.choices)),
        ("Left out", _dropped(result)),
        ("How to read this", TEXT),
    ]
    body = "\n".join((f"<h2>{title}</h2>\n" if title else "") + content for title, content in sections if content)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    title = "Label report"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title></head>\n'
        f"<body>\n<h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _summary(result: CleanResult) -> str:
    table, record = result.scores, result.run.record
    issues = int(table["is_label_issue"].sum())
    facts = {
        "Images": f"{len(table):,} of {table['given_label'].nunique()} classes",
        "Label issues": f"{issues:,} ({100 * issues / len(table):.1f} %)",
    }
    if result.accuracy is not None:
        count = 0 if result.test_scores is None else len(result.test_scores)
        facts["Held-out accuracy"] = f"{result.accuracy:.2f} % of {count:,} images, measured against {_against(result)}"
    if result.auc is not None:
        facts["AUC of P(clean)"] = f"{result.auc:.4f}, measured against the column of correct labels"
    facts["Training"] = f"{record['paper']}, {record['seconds']:.0f} s on {record['device']['name']}"
    facts |= {f"Note {i + 1}": note for i, note in enumerate([*result.notes, *record["events"][:3]])}
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in facts.items())
    return f"<table>{rows}</table>"


def _against(result: CleanResult) -> str:
    data = result.run.params.data
    if getattr(data, "test", None) is not None:
        return "the labels of the test table"
    known = getattr(data, "truth", None) is not None
    return "the column of correct labels" if known else "the given labels, which may be wrong too"


def _gallery(result: CleanResult) -> str:
    """The images whose given label is most surely wrong, as small pictures with their labels."""
    issues = result.scores[result.scores["is_label_issue"]]
    issues = issues.sort_values(["label_quality", "p_clean", "confidence"], ascending=[True, True, False]).head(GALLERY)
    if issues.empty:
        return "<p>No label was found to be wrong.</p>"
    figures = map(_thumbnail, result.images[issues.index.to_numpy()], issues.itertuples())
    return f'<div class="gallery">{"".join(figures)}</div>'


def _thumbnail(pixels: np.ndarray, row: Any) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    given, suggested, path = (html.escape(str(text)) for text in (row.given_label, row.suggested_label, row.path))
    return (
        f'<figure><img src="{_address("png", stream.getvalue())}" alt="{path}">'
        f'<figcaption><span class="given">given {given}</span><br><span class="suggested">suggested {suggested}</span>'
        f'<br>P(clean) {row.p_clean:.2f}<br><span class="small">{path}</span></figcaption></figure>'
    )


def _classes(result: CleanResult) -> str:
    table = class_table(result.scores)
    shown = table.head(ROWS)
    bar = '<span class="bar" style="width: {:.2f}rem"></span> {:.1f} %'
    text = _table(shown.assign(share=[bar.format(6 * share, 100 * share) for share in shown["share"]]), raw="share")
    more = f"<p>{len(table) - ROWS} classes with fewer issues are not shown.</p>" if len(table) > ROWS else ""
    return f"<p>Share of the images of each given label whose label is an issue.</p>{text}{more}"


def _dropped(result: CleanResult) -> str:
    if result.dropped.empty:
        return ""
    more = "<p>All of them are in <code>dropped.csv</code>.</p>" if len(result.dropped) > ROWS else ""
    return f"<p>{len(result.dropped)} images could not be used.</p>{_table(result.dropped.head(ROWS))}{more}"


def _table(table: pd.DataFrame, raw: str = "") -> str:
    """The table with numbers to the right; the column `raw` is HTML already."""
    columns = []
    for name in table:
        mark = ' class="number"' if pd.api.types.is_numeric_dtype(table[name]) else ""
        texts = (text if name == raw else html.escape(text) for text in table[name].astype(str))
        columns.append([f"<th{mark}>{name}</th>", *(f"<td{mark}>{text}</td>" for text in texts)])
    return f"<table>{''.join('<tr>' + ''.join(row) + '</tr>' for row in zip(*columns, strict=True))}</table>"


def _figures(result: CleanResult) -> list[tuple[str, str]]:
    """Drawings, where matplotlib is installed; the rest of the report does without it."""
    try:
        import matplotlib.pyplot as plt

        from nlkit import figures
        from nlkit.figures.style import SETTINGS
    except ImportError:
        return [("", "<p>Figures need matplotlib: <code>pip install matplotlib</code>.</p>")]
    run = result.run
    names = [name if len(name) <= 14 else name[:13] + "…" for name in result.problem.class_names]
    names = [name.replace("$", r"\$") for name in names]  # a dollar sign begins a formula
    drawings: list[tuple[str, str, Callable[[], Any]]] = [
        ("Loss of the images under their given labels", LOSSES, lambda: figures.loss_histograms(run)),
        ("P(clean)", P_CLEAN, lambda: figures.p_clean_histograms(run)),
        ("Estimated transition matrix", MATRIX, lambda: figures.transition_matrices(figures.run_matrices(run), names)),
    ]
    sections, backend = [], plt.get_backend()
    plt.switch_backend("agg")
    try:
        with plt.rc_context(SETTINGS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that the font lacks
            for title, text, draw in drawings:
                stream, figure = io.BytesIO(), draw()
                figure.savefig(stream, format="svg", metadata={"Date": None})
                plt.close(figure)
                image = f'<img class="figure" src="{_address("svg+xml", stream.getvalue())}" alt="{title}">'
                sections.append((title, f"<p>{text}</p>{image}"))
    finally:
        plt.switch_backend(backend)
    return sections


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


LOSSES = "Two heaps mean that correct and wrong labels can be told apart; one heap means that they cannot."
P_CLEAN = "The posterior probability that a label is correct. Labels left of the dotted line are not trusted."
MATRIX = "Row: what the classifier predicts. Column: the given label. Off the diagonal: which classes are mixed up."
TEXT = """<p>A label is an issue where P(clean) is low and the classifier predicts another class. It is a suspicion, not
a verdict: look at the pictures before you change a label. Images that belong to none of the classes, and errors that
repeat on most images of a class, are not found this way.</p>"""
